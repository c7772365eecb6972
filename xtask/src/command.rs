//! The command line of `cargo xtask`.

use crate::steps::STEPS;

/// What `--help` prints.
pub const USAGE: &str = "\
usage: cargo xtask tidy
       cargo xtask test [--offline] [--no-real] [--only STEP]... [--list]

tidy    check the rules about the sources (runs inside the tests as well)
test    install what the tests need, then format, lint, and run every test

  --offline    fetch nothing: use what is installed, skip what is not
  --no-real    leave out the suites that run real counterparts
  --only STEP  run this step and what it needs; may be repeated
  --list       print the steps and stop";

/// A parsed command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Check the sources.
    Tidy,
    /// Run the tests.
    Test(Options),
    /// Print the usage.
    Help,
}

/// What `cargo xtask test` is asked to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether anything may be fetched.
    pub network: Network,
    /// Whether the suites with real counterparts run.
    pub real: RealParts,
    /// The steps asked for by name; empty for all.
    pub only: Vec<String>,
    /// Whether to print the steps and stop.
    pub list: bool,
}

/// Whether anything may be fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Network {
    /// Install what is missing.
    #[default]
    Used,
    /// Use what is installed.
    Unused,
}

/// Whether the suites with real counterparts run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RealParts {
    /// They run.
    #[default]
    Included,
    /// They are left out.
    LeftOut,
}

impl Command {
    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// An unknown command, option or step, with what was expected.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut rest = arguments.iter().map(String::as_str);
        match rest.next() {
            None | Some("help" | "--help" | "-h") => Ok(Self::Help),
            Some("tidy") => match rest.next() {
                None => Ok(Self::Tidy),
                Some(extra) => Err(format!("`tidy` takes no argument, got `{extra}`")),
            },
            Some("test") => parse_test(rest),
            Some(other) => Err(format!("unknown command `{other}`, expected `tidy` or `test`")),
        }
    }
}

fn parse_test<'a>(mut rest: impl Iterator<Item = &'a str>) -> Result<Command, String> {
    let mut options = Options::default();
    while let Some(argument) = rest.next() {
        match argument {
            "--offline" => options.network = Network::Unused,
            "--no-real" => options.real = RealParts::LeftOut,
            "--list" => options.list = true,
            "--only" => {
                let name = rest.next().ok_or("`--only` needs the name of a step")?;
                let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
                if !known.contains(&name) {
                    return Err(format!("unknown step `{name}`, expected one of {}", known.join(", ")));
                }
                options.only.push(name.to_owned());
            }
            "--help" | "-h" => return Ok(Command::Help),
            other => return Err(format!("unknown option `{other}`")),
        }
    }
    Ok(Command::Test(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        Command::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn every_option_is_read() {
        let Ok(Command::Test(options)) = parse("test --offline --no-real --only fmt --only lint --list")
        else {
            panic!("the line is valid");
        };
        assert_eq!((options.network, options.real), (Network::Unused, RealParts::LeftOut));
        assert_eq!(options.only, ["fmt", "lint"]);
        assert!(options.list);
    }

    #[test]
    fn what_is_not_known_is_refused_and_named() {
        assert!(parse("test --only nothing").unwrap_err().contains("`nothing`"));
        assert!(parse("test --fast").unwrap_err().contains("`--fast`"));
        assert!(parse("tidy now").unwrap_err().contains("`now`"));
        assert!(parse("ship").unwrap_err().contains("`ship`"));
        assert!(parse("test --only").unwrap_err().contains("needs the name"));
    }
}

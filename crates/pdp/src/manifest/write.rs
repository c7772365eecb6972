//! Writing manifests for people to edit.

use std::fmt::Write as _;

use cordon_core::json::quote;
use cordon_core::{CallLimits, OutputLabel, ToolManifest, Validator, ValidatorKind};

use super::preconditions;

/// The manifest as TOML text, which reads back as the same manifest.
pub fn manifest_to_toml(manifest: &ToolManifest) -> String {
    let mut out = String::new();
    line(&mut out, "tool", &text(manifest.tool.as_str()));
    if let Some(pin) = &manifest.pin {
        line(&mut out, "pin", &text(&pin.to_string()));
    }
    line(&mut out, "classes", &list(manifest.classes.iter().map(ToString::to_string)));
    line(&mut out, "effect", &text(manifest.effect.as_str()));
    for (name, paths) in [("sinks", &manifest.sinks), ("carries", &manifest.carries)] {
        if !paths.is_empty() {
            line(&mut out, name, &list(paths));
        }
    }
    if !manifest.calls.is_empty() {
        line(&mut out, "calls", &list(manifest.calls.iter().map(ToString::to_string)));
    }
    if !manifest.outputs.is_empty() {
        let labels = manifest.outputs.iter().map(|(at, label)| format!("{} = {}", text(at), output(label)));
        line(&mut out, "outputs", &table(labels));
    }
    if manifest.limits != CallLimits::DEFAULT {
        line(&mut out, "limits", &limits(&manifest.limits));
    }
    if let Some(path) = &manifest.idempotency {
        line(&mut out, "idempotency", &text(path));
    }
    if let Some(tool) = &manifest.compensation {
        line(&mut out, "compensation", &text(tool.as_str()));
    }
    if let Some(tier) = &manifest.sandbox {
        line(&mut out, "sandbox", &text(tier));
    }
    if !manifest.validators.is_empty() {
        let items: Vec<String> = manifest.validators.iter().map(validator).collect();
        line(&mut out, "validators", &format!("[{}]", items.join(", ")));
    }
    if !manifest.preconditions.is_empty() {
        let items: Vec<String> = manifest.preconditions.iter().map(preconditions::write).collect();
        line(&mut out, "preconditions", &format!("[{}]", items.join(", ")));
    }
    for (name, value) in [
        ("description", &manifest.description),
        ("input_schema", &manifest.input_schema),
        ("output_schema", &manifest.output_schema),
    ] {
        if let Some(value) = value {
            line(&mut out, name, &long(value));
        }
    }
    out
}

fn line(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "{name} = {value}");
}

/// A basic string; the escapes of JSON are escapes of TOML too.
fn text(value: &str) -> String {
    quote(value)
}

/// A literal string where that is possible, so that a schema stays readable.
fn long(value: &str) -> String {
    let plain = !value.contains('\'') && !value.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
    if plain && value.contains(['"', '\\', '\n']) && !value.starts_with('\n') {
        format!("'''{value}'''")
    } else {
        text(value)
    }
}

fn list<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| text(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

pub(super) fn table(members: impl IntoIterator<Item = String>) -> String {
    format!("{{ {} }}", members.into_iter().collect::<Vec<_>>().join(", "))
}

fn output(label: &OutputLabel) -> String {
    let mut members = vec![format!("integrity = {}", text(label.integrity.as_str()))];
    if !label.readers.is_empty() {
        members.push(format!("readers = {}", list(&label.readers)));
    }
    if !label.markings.is_empty() {
        members.push(format!("markings = {}", list(label.markings.iter().map(ToString::to_string))));
    }
    table(members)
}

fn limits(limits: &CallLimits) -> String {
    table([
        format!("timeout_ms = {}", limits.timeout_ms),
        format!("rate_per_min = {}", limits.rate_per_min),
        format!("concurrency = {}", limits.concurrency),
        format!("result_bytes_max = {}", limits.result_bytes_max),
    ])
}

fn validator(validator: &Validator) -> String {
    let parameters = match &validator.kind {
        ValidatorKind::Email => "kind = \"email\"".to_owned(),
        ValidatorKind::Url { schemes } => format!("kind = \"url\", schemes = {}", list(schemes)),
        ValidatorKind::Range { min, max } => format!("kind = \"range\", min = {min}, max = {max}"),
        ValidatorKind::Length { min, max } => format!("kind = \"length\", min = {min}, max = {max}"),
        ValidatorKind::OneOf { values } => format!("kind = \"one_of\", values = {}", list(values)),
        ValidatorKind::NotAfter { other } => format!("kind = \"not_after\", other = {}", text(other)),
        // A kind that this version cannot write is written so that reading refuses it.
        _ => "kind = \"unknown\"".to_owned(),
    };
    format!("{{ at = {}, {parameters} }}", text(&validator.at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_manifests;
    use proptest::prelude::*;

    #[test]
    fn the_full_manifest_reads_back_as_itself() {
        let text = include_str!("../../../../spec/vectors/manifest/full.toml");
        let manifest = parse_manifests("f", text).unwrap().remove(0);
        assert_eq!(parse_manifests("f", &manifest_to_toml(&manifest)), Ok(vec![manifest]));
    }

    proptest! {
        #[test]
        fn any_words_of_a_manifest_read_back_as_themselves(
            description in any::<String>(),
            key in any::<String>(),
            reader in any::<String>(),
            value in any::<String>(),
        ) {
            let text = include_str!("../../../../spec/vectors/manifest/full.toml");
            let mut manifest = parse_manifests("f", text).unwrap().remove(0);
            manifest.description = Some(description.into());
            manifest.input_schema = Some(format!("{{{}: {{}}\n}}", quote(&key)).into());
            for label in manifest.outputs.values_mut() {
                label.readers = vec![reader.clone().into()];
            }
            manifest.validators.push(Validator {
                at: "/x".into(),
                kind: ValidatorKind::OneOf { values: vec![value.into()] },
            });
            prop_assert_eq!(parse_manifests("f", &manifest_to_toml(&manifest)), Ok(vec![manifest]));
        }
    }
}

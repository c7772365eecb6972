//! Exact comparison of numbers by their text; nothing is rounded.

use std::cmp::Ordering;

/// A decimal number as sign, digits without zeros at either end, and the power of ten of the first
/// digit; zero has no digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exact {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Exact {
    /// Reads a JSON number; nothing for any other text, or an exponent beyond 18 digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, power) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digit = |b: u8| b.is_ascii_digit();
        if whole.is_empty() || !whole.bytes().all(digit) || !fraction.bytes().all(digit) || power.len() > 18 {
            return None;
        }
        let power: i64 = power.parse().ok()?;
        let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let Some(first) = all.iter().position(|digit| *digit != b'0') else {
            return Some(Self { negative: false, digits: Vec::new(), exponent: 0 });
        };
        let last = all.iter().rposition(|digit| *digit != b'0')?;
        let exponent = i64::try_from(whole.len()).ok()?.checked_sub(i64::try_from(first).ok()?)?;
        Some(Self {
            negative,
            digits: all.get(first..=last)?.to_vec(),
            exponent: exponent.checked_add(power)?.checked_sub(1)?,
        })
    }

    /// Whether it is a whole number.
    pub(crate) fn is_whole(&self) -> bool {
        let places = i64::try_from(self.digits.len()).unwrap_or(i64::MAX);
        self.digits.is_empty() || self.exponent >= places.saturating_sub(1)
    }

    /// The whole number, if it is one of 64 bits.
    pub(crate) fn as_i64(&self) -> Option<i64> {
        if !self.is_whole() || self.exponent > 18 {
            return None;
        }
        let places = usize::try_from(self.exponent).ok()?.checked_add(1)?;
        let mut text = if self.negative { "-".to_owned() } else { String::new() };
        text.extend(self.digits.iter().copied().chain(std::iter::repeat(b'0')).take(places).map(char::from));
        if self.digits.is_empty() { Some(0) } else { text.parse().ok() }
    }

    /// The number without an exponent, where its digits end within 32 places of the point.
    pub(crate) fn plain(&self) -> Option<String> {
        if self.digits.is_empty() {
            return Some("0".to_owned());
        }
        let mut text = if self.negative { "-".to_owned() } else { String::new() };
        let places = self.exponent.checked_add(1)?;
        if self.exponent.unsigned_abs() > 32 {
            return None;
        }
        if places <= 0 {
            text.push_str("0.");
            text.extend(std::iter::repeat_n('0', usize::try_from(places.unsigned_abs()).ok()?));
            text.extend(self.digits.iter().copied().map(char::from));
            return Some(text);
        }
        let places = usize::try_from(places).ok()?;
        text.extend(self.digits.iter().copied().chain(std::iter::repeat(b'0')).take(places).map(char::from));
        if self.digits.len() > places {
            text.push('.');
            text.extend(self.digits.iter().skip(places).copied().map(char::from));
        }
        Some(text)
    }
}

impl PartialOrd for Exact {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Exact {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |n: &Self| match (n.digits.is_empty(), n.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let size = self.exponent.cmp(&other.exponent).then_with(|| self.digits.cmp(&other.digits));
        match (sign(self), sign(other)) {
            (1, 1) => size,
            (-1, -1) => size.reverse(),
            (a, b) => a.cmp(&b),
        }
    }
}

/// Whether a double holds the number `text` without changing it to another one: reading it and
/// writing it again gives the same digits. Whole numbers of 64 bits are held as such.
pub(crate) fn is_held(text: &str) -> bool {
    if text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok() {
        return true;
    }
    let Some(exact) = Exact::parse(text) else { return false };
    match text.parse::<f64>() {
        Ok(double) if double.is_finite() => Exact::parse(&format!("{double:e}")) == Some(exact),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_by_value_whatever_their_spelling() {
        let exact = |text: &str| Exact::parse(text).unwrap();
        for (a, b) in [("1", "1.0"), ("100", "1e2"), ("-0", "0.00"), ("0.5", "5E-1"), ("12.50", "1250e-2")] {
            assert_eq!(exact(a), exact(b), "{a} {b}");
        }
        let rising = [
            "-1e30",
            "-2",
            "-1.5",
            "-0.1",
            "0",
            "1e-30",
            "0.1",
            "9007199254740993",
            "9007199254740993.5",
            "1e30",
        ];
        for pair in rising.windows(2) {
            assert!(exact(pair[0]) < exact(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn whole_numbers_are_whole_however_they_are_written() {
        let whole = |text: &str| Exact::parse(text).unwrap().as_i64();
        assert_eq!(whole("5.0"), Some(5));
        assert_eq!(whole("12e2"), Some(1200));
        assert_eq!(whole("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(whole("9223372036854775808"), None);
        assert_eq!(whole("5.5"), None);
        assert_eq!(whole("1e-1"), None);
    }

    #[test]
    fn a_number_that_a_double_would_change_is_not_held() {
        for text in
            ["9007199254740993", "0.1", "1e300", "18446744073709551615", "0.30000000000000004", "1.50"]
        {
            assert!(is_held(text), "{text}");
        }
        for text in
            ["9007199254740993.0", "18446744073709551616", "1e400", "0.1000000000000000055511151231257827"]
        {
            assert!(!is_held(text), "{text}");
        }
    }

    #[test]
    fn plain_text_has_no_exponent() {
        for (text, want) in
            [("1e2", "100"), ("5E-1", "0.5"), ("-12.50", "-12.5"), ("0e9", "0"), ("5e-4", "0.0005")]
        {
            assert_eq!(Exact::parse(text).unwrap().plain().as_deref(), Some(want));
        }
    }
}

//! Numbers compared as what they are, however they are written.

use crate::json::{self, JsonLimits};

/// How many digits an integer is written out with; those of any within ±2^53 fit.
const INTEGER_DIGITS: i64 = 16;

/// The value of a JSON number, exactly: equal values are equal here, and only those.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    /// Without zeros at either end; none at all for zero.
    digits: String,
    /// The power of ten of the last digit.
    exponent: i64,
}

impl Decimal {
    /// Reads a JSON number; `None` for anything else and for an exponent beyond all reason.
    pub(super) fn parse(text: &str) -> Option<Decimal> {
        let starts = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        let ends = text.ends_with(|last: char| last.is_ascii_digit());
        if !starts || !ends || json::check(text, &JsonLimits::default()).is_err() {
            return None;
        }
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let digits = all.trim_end_matches('0');
        let zeros = i64::try_from(all.len() - digits.len()).ok()?;
        let digits = digits.trim_start_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Decimal { negative: false, digits, exponent: 0 });
        }
        let exponent: i64 = exponent.parse().ok()?;
        let shift = zeros.checked_sub(i64::try_from(fraction.len()).ok()?)?;
        Some(Decimal { negative, digits, exponent: exponent.checked_add(shift)? })
    }

    /// The number without fraction and exponent, if it is an integer and not a huge one.
    pub(super) fn integer(&self) -> Option<String> {
        if self.digits.is_empty() {
            return Some("0".to_owned());
        }
        let length = i64::try_from(self.digits.len()).ok()?.checked_add(self.exponent)?;
        let zeros = usize::try_from(self.exponent).ok().filter(|_| length <= INTEGER_DIGITS)?;
        let sign = if self.negative { "-" } else { "" };
        Some(format!("{sign}{}{}", self.digits, "0".repeat(zeros)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_equal_however_they_are_written() {
        let zero = ["0", "-0", "0.00", "0e9", "-0.0E-7", "0e99999999999999999999"];
        let forty_two = ["42", "42.0", "4.2e1", "420e-1", "0.42E+2", "42.000e0"];
        for (group, other) in [(zero, forty_two), (forty_two, zero)] {
            for text in group {
                assert_eq!(Decimal::parse(text), Decimal::parse(group[0]), "{text}");
                assert!(other.iter().all(|other| Decimal::parse(other) != Decimal::parse(text)));
            }
        }
        for (one, another) in [
            ("42", "-42"),
            ("9007199254740993", "9007199254740992"),
            ("42.00000000000000000001", "42"),
            ("1e400", "1e401"),
        ] {
            assert!(Decimal::parse(one).is_some());
            assert_ne!(Decimal::parse(one), Decimal::parse(another));
        }
    }

    #[test]
    fn only_numbers_are_read() {
        for text in
            ["", "-", "042", "+42", "42.", ".5", "0x2a", "forty", "true", "4 2", " 42", "42 "]
        {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
        assert_eq!(Decimal::parse("1e99999999999999999999"), None);
        assert_eq!(Decimal::parse("1e-9223372036854775808").unwrap().integer(), None);
        assert_eq!(Decimal::parse("10e9223372036854775807"), None);
    }

    #[test]
    fn integers_are_written_in_full() {
        let integer = |text| Decimal::parse(text).unwrap().integer();
        for (text, written) in [
            ("-7", "-7"),
            ("42.0", "42"),
            ("1e3", "1000"),
            ("-0", "0"),
            ("9007199254740991", "9007199254740991"),
        ] {
            assert_eq!(integer(text).as_deref(), Some(written));
        }
        for text in ["1.5", "1e16", "1e400", "12345678901234567"] {
            assert_eq!(integer(text), None, "{text}");
        }
    }
}

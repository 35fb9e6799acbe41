//! What a cell of a table holds: nothing, a number, or a text.

/// A cell, as far as its own text tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cell {
    /// Blank, `NA`, `N/A`, `nan` or `null`, without regard to case.
    Missing,
    /// A number that a 32-bit float can hold.
    Number(f64),
    /// An infinity, or a number too large for a 32-bit float.
    TooLarge,
    Text,
}

/// What the text of a cell means; spaces around it don't count.
#[inline]
pub(crate) fn parse(text: &[u8]) -> Cell {
    match short_decimal(text) {
        Some(number) => Cell::Number(number),
        None => parse_any(text.trim_ascii()),
    }
}

/// A number of JSON: finite, but maybe not as a 32-bit float.
pub(crate) fn of_number(number: f64) -> Cell {
    if (number as f32).is_finite() {
        Cell::Number(number)
    } else {
        Cell::TooLarge
    }
}

pub(crate) fn is_missing(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 4] = [b"na", b"n/a", b"nan", b"null"];
    text.is_empty() || WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

fn parse_any(text: &[u8]) -> Cell {
    if is_missing(text) {
        return Cell::Missing;
    }
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    match number {
        // Rust reads "+nan" and "-nan" too.
        Some(number) if !number.is_nan() => of_number(number),
        _ => Cell::Text,
    }
}

/// Powers of ten that an f64 holds exactly.
const POWERS: [f64; 16] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

/// A plain decimal of at most 16 characters, several times as fast as the general parser.
///
/// With a point it is `digits / 10^places`, both exact in an f64 as there are at most 15 digits; without one it is the
/// digits alone. Either way one operation rounds, correctly, and the result is the general parser's, bit for bit
/// (W. D. Clinger, How to read floating point numbers accurately, 1990).
#[inline]
fn short_decimal(text: &[u8]) -> Option<f64> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    // An empty text is missing, a point alone is a text.
    if unsigned.is_empty() || unsigned.len() > 16 || unsigned == b"." {
        return None;
    }
    // Signed, which converts to f64 in one instruction.
    let mut digits = 0_i64;
    let mut point = None;
    for (position, byte) in unsigned.iter().enumerate() {
        match byte {
            b'0'..=b'9' => digits = digits * 10 + i64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(position),
            _ => return None,
        }
    }
    let places = match point {
        Some(position) => unsigned.len() - position - 1,
        None => 0,
    };
    let number = digits as f64 / POWERS[places];
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn missing_values_are_blank_or_one_of_four_words() {
        for text in ["", " ", "\t", "NA", "na", "N/A", "n/a", "NaN", "nan", "NULL", " null "] {
            assert_eq!(parse(text.as_bytes()), Cell::Missing, "{text:?}");
        }
        for text in ["-", "?", "none", "NA.", "-nan", "nil"] {
            assert_eq!(parse(text.as_bytes()), Cell::Text, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_read_as_rust_reads_them() {
        for (text, number) in [
            ("5.1", 5.1),
            ("-0.00632", -0.00632),
            (".5", 0.5),
            ("5.", 5.0),
            ("+7", 7.0),
            ("1e3", 1e3),
            ("1E-3", 1e-3),
            ("999999999999999", 999_999_999_999_999.0),
            ("9007199254740993", 9_007_199_254_740_993_u64 as f64),
            ("0.1234567890123456789", 0.123_456_789_012_345_68),
            (" 12 ", 12.0),
            ("3.4028235e38", 3.402_823_5e38),
            ("1e-400", 0.0),
        ] {
            assert_eq!(parse(text.as_bytes()), Cell::Number(number), "{text:?}");
        }
    }

    #[test]
    fn what_a_32_bit_float_cannot_hold_is_too_large() {
        for text in ["inf", "-inf", "Infinity", "1e39", "-1e39", "1e999", "1e308"] {
            assert_eq!(parse(text.as_bytes()), Cell::TooLarge, "{text:?}");
        }
    }

    #[test]
    fn what_only_looks_like_a_number_is_text() {
        for text in [
            "-", ".", "-.", "1.2.3", "1,5", "0x10", "1_000", "5.1cm", "12-03", "٣", "--1", "1e", "e1",
        ] {
            assert_eq!(parse(text.as_bytes()), Cell::Text, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn the_fast_path_agrees_with_the_general_parser(text in "-?[0-9]{0,16}\\.?[0-9]{0,16}") {
            if let Some(fast) = short_decimal(text.as_bytes()) {
                prop_assert_eq!(fast.to_bits(), text.parse::<f64>().unwrap().to_bits());
            }
        }
    }
}

use super::GenesisProblem;

/// A whole number as `N` bytes, most significant first: decimal, or hexadecimal after `0x`.
pub(super) fn number<const N: usize>(what: &str, text: &str) -> Result<[u8; N], GenesisProblem> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => parse(what, digits, 16),
        None => parse(what, text, 10),
    }
}

/// A hexadecimal number as `N` bytes, most significant first, with or without `0x`.
pub(super) fn hex_number<const N: usize>(
    what: &str,
    text: &str,
) -> Result<[u8; N], GenesisProblem> {
    parse(what, text.strip_prefix("0x").unwrap_or(text), 16)
}

fn parse<const N: usize>(what: &str, digits: &str, radix: u8) -> Result<[u8; N], GenesisProblem> {
    let refused =
        || GenesisProblem::Number { what: what.to_owned(), text: digits.to_owned(), bits: 8 * N };
    let mut bytes = [0; N];
    for digit in digits.chars() {
        let digit = digit.to_digit(u32::from(radix)).ok_or_else(refused)?;
        // bytes = bytes × radix + digit, carried from the last byte to the first.
        let mut carry = digit;
        for byte in bytes.iter_mut().rev() {
            let next = u32::from(*byte) * u32::from(radix) + carry;
            let [high @ .., low] = next.to_be_bytes();
            *byte = low;
            carry = high.iter().fold(0, |carry, byte| carry << 8 | u32::from(*byte));
        }
        if carry != 0 {
            return Err(refused());
        }
    }
    if digits.is_empty() { Err(refused()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        assert_eq!(number::<4>("n", "258").unwrap(), [0, 0, 1, 2]);
        assert_eq!(number::<4>("n", "0x0102").unwrap(), [0, 0, 1, 2]);
        assert_eq!(hex_number::<4>("n", "102").unwrap(), [0, 0, 1, 2]);
        assert_eq!(number::<2>("n", "65535").unwrap(), [255, 255]);
        let most = format!("0x{}", "f".repeat(64));
        assert_eq!(number::<32>("n", &most).unwrap(), [255; 32]);
    }

    #[test]
    fn what_is_no_number_or_does_not_fit_is_refused() {
        for text in ["", "0x", "-1", "1_000", "1e3", "65536", "0x10000", "12 "] {
            assert!(number::<2>("n", text).is_err(), "{text}");
        }
    }
}

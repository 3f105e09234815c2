//! JSON texts of any size.

/// A JSON string literal of exactly `bytes` bytes, at least 2, of characters cut nowhere: `unit`
/// repeated and filled up with spaces. Texts of different `seed` share no frame.
pub fn string(unit: &str, bytes: usize, seed: usize) -> String {
    let mut text = String::with_capacity(bytes);
    text.push('"');
    let prefix = format!("{seed:06}");
    if bytes >= prefix.len() + 2 {
        text.push_str(&prefix);
    }
    while text.len() + unit.len() < bytes {
        text.push_str(unit);
    }
    while text.len() + 1 < bytes {
        text.push(' ');
    }
    text.push('"');
    assert_eq!(text.len(), bytes);
    text
}

/// A JSON string literal of `bytes` bytes that zstd cannot shorten below its base64.
pub fn incompressible(bytes: usize, seed: u64) -> String {
    let mut state = seed.wrapping_mul(2) + 0x9E37_79B9_7F4A_7C15;
    let mut text = String::with_capacity(bytes);
    text.push('"');
    while text.len() + 1 < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let character = char::from(b' ' + (state >> 20) as u8 % 94);
        text.push(if matches!(character, '"' | '\\') { '.' } else { character });
    }
    text.push('"');
    text
}

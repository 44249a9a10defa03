//! Bytes to characters. The rule: the mark at the beginning decides, and where there is none, where the zeros stand.

use super::ImportError;

/// The characters of a file: UTF-16 of either order (what `reg export` writes), UTF-8 with and without a mark, and for
/// the oldest registry exports, which have the code page of their machine, what is ASCII of them.
pub(super) fn decode(bytes: &[u8]) -> Result<String, ImportError> {
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes)?,
        [0xef, 0xbb, 0xbf, rest @ ..] => narrow(rest)?,
        [first, 0, ..] if *first != 0 => wide(bytes, u16::from_le_bytes)?,
        [0, second, ..] if *second != 0 => wide(bytes, u16::from_be_bytes)?,
        _ => narrow(bytes)?,
    };
    if text.contains('\0') {
        return Err(ImportError::NotText);
    }
    Ok(text)
}

fn narrow(bytes: &[u8]) -> Result<String, ImportError> {
    if bytes.starts_with(b"REGEDIT4") {
        return Ok(String::from_utf8_lossy(bytes).into_owned());
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| ImportError::NotText)
}

fn wide(bytes: &[u8], of: fn([u8; 2]) -> u16) -> Result<String, ImportError> {
    let (units, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(ImportError::NotText);
    }
    let units: Vec<u16> = units.iter().map(|unit| of(*unit)).collect();
    String::from_utf16(&units).map_err(|_| ImportError::NotText)
}

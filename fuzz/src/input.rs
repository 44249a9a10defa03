//! Bytes of an input as numbers and pieces of text. The rule: an input that ends gives zeros, so that every input means
//! something and a shorter one means nearly the same.

/// What is left of an input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'d>(pub(crate) &'d [u8]);

impl<'d> Input<'d> {
    /// The next byte.
    pub(crate) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((byte, rest)) => {
                self.0 = rest;
                *byte
            }
            None => 0,
        }
    }

    /// The next `N` bytes.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// The next number.
    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    /// At most so many bytes.
    pub(crate) fn take(&mut self, len: usize) -> &'d [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Whether there is more.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The rest as lines.
pub(crate) fn lines(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split(|byte| *byte == b'\n')
}

/// A line's name and value, as in a field of HTTP.
pub(crate) fn field(line: &[u8]) -> Option<(&str, &[u8])> {
    let at = line.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&line[..at]).ok()?;
    Some((name, line[at + 1..].trim_ascii()))
}

/// All of an input as text, where it is.
pub(crate) fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

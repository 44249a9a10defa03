//! As much of the Basic Encoding Rules (X.690) as LDAP needs: tags of one byte, definite lengths. The rule: a reader never
//! looks past the bytes that it was given, and whatever it gives out is a part of them.

/// Bytes that are not BER, or not as much of it as LDAP uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the bytes are no BER")]
pub struct NotBer;

/// INTEGER.
pub const INTEGER: u8 = 0x02;
/// OCTET STRING.
pub const OCTETS: u8 = 0x04;
/// ENUMERATED.
pub const ENUMERATED: u8 = 0x0a;
/// BOOLEAN.
pub const BOOLEAN: u8 = 0x01;
/// SEQUENCE, constructed.
pub const SEQUENCE: u8 = 0x30;
/// SET, constructed.
pub const SET: u8 = 0x31;

/// Elements one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether all is read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes are left.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.0.len()
    }

    /// The next element: its tag and its contents.
    ///
    /// # Errors
    /// There is none that is whole.
    pub fn any(&mut self) -> Result<(u8, &'a [u8]), NotBer> {
        let (head, rest) = self.0.split_first_chunk::<2>().ok_or(NotBer)?;
        let [tag, first] = *head;
        if tag & 0x1f == 0x1f {
            return Err(NotBer);
        }
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // 0x80 is the indefinite form, which LDAP forbids (RFC 4511, section 5.1).
            0x81..=0x84 => {
                let (digits, rest) = rest
                    .split_at_checked(usize::from(first & 0x7f))
                    .ok_or(NotBer)?;
                let len = digits
                    .iter()
                    .fold(0_u32, |len, digit| len << 8 | u32::from(*digit));
                (usize::try_from(len).map_err(|_| NotBer)?, rest)
            }
            _ => return Err(NotBer),
        };
        let (contents, rest) = rest.split_at_checked(len).ok_or(NotBer)?;
        self.0 = rest;
        Ok((tag, contents))
    }

    /// The contents of the next element, which has this tag.
    ///
    /// # Errors
    /// It has another, or there is none.
    pub fn of(&mut self, tag: u8) -> Result<&'a [u8], NotBer> {
        match self.any()? {
            (found, contents) if found == tag => Ok(contents),
            _ => Err(NotBer),
        }
    }

    /// The elements inside the next one, which has this tag.
    ///
    /// # Errors
    /// It has another, or there is none.
    pub fn inside(&mut self, tag: u8) -> Result<Self, NotBer> {
        self.of(tag).map(Self)
    }

    /// The number that comes next, which is not negative and has 32 bits at most.
    ///
    /// # Errors
    /// There is none such.
    pub fn number(&mut self, tag: u8) -> Result<u32, NotBer> {
        let digits = self.of(tag)?;
        match digits {
            [] | [0x80..=0xff, ..] => Err(NotBer),
            [0, digits @ ..] | digits if digits.len() <= 4 => Ok(digits
                .iter()
                .fold(0, |number, digit| number << 8 | u32::from(*digit))),
            _ => Err(NotBer),
        }
    }
}

/// An element with these contents, part by part.
#[must_use]
pub fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let digits = len.to_be_bytes();
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    let digits = digits.get(leading..).unwrap_or_default();
    let mut out = Vec::with_capacity(len + 6);
    out.push(tag);
    match (u8::try_from(len), u8::try_from(digits.len())) {
        (Ok(short), _) if short < 0x80 => out.push(short),
        (_, count) => {
            // A length has eight digits at most.
            out.push(0x80 | count.unwrap_or(8));
            out.extend_from_slice(digits);
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// A number, as an element.
#[must_use]
pub fn number(tag: u8, number: u32) -> Vec<u8> {
    let digits = number.to_be_bytes();
    let leading = digits
        .iter()
        .take_while(|digit| **digit == 0)
        .count()
        .min(3);
    let digits = digits.get(leading..).unwrap_or_default();
    // The first bit is the sign's.
    match digits {
        [0x80..=0xff, ..] => element(tag, &[&[0], digits]),
        _ => element(tag, &[digits]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_have_the_form_that_is_asked_for() {
        assert_eq!(element(OCTETS, &[b"ab", b"c"]), [4, 3, b'a', b'b', b'c']);
        assert_eq!(element(OCTETS, &[&[7; 127]])[..2], [4, 127]);
        assert_eq!(element(OCTETS, &[&[7; 128]])[..3], [4, 0x81, 128]);
        assert_eq!(element(OCTETS, &[&[7; 256]])[..4], [4, 0x82, 1, 0]);
        assert_eq!(number(INTEGER, 0), [2, 1, 0]);
        assert_eq!(number(INTEGER, 128), [2, 2, 0, 128]);
        for bad in [
            &[][..],
            &[4],
            &[4, 1],
            &[4, 0x80, 0, 0],
            &[4, 0x85, 0, 0, 0, 0, 0],
            &[4, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x1f, 1, 0],
        ] {
            assert_eq!(Reader::new(bad).any(), Err(NotBer), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes in prop::collection::vec(any::<u8>(), 0..70_000), n in any::<u32>()) {
            let mut all = element(OCTETS, &[&bytes]);
            all.extend(number(INTEGER, n));
            let mut reader = Reader::new(&all);
            prop_assert_eq!(reader.of(OCTETS), Ok(&bytes[..]));
            prop_assert_eq!(reader.number(INTEGER), Ok(n));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn garbage_ends(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut reader = Reader::new(&bytes);
            while let Ok((_, contents)) = reader.any() {
                prop_assert!(contents.len() < bytes.len());
            }
        }
    }
}

//! From settings and free space to a number of bytes. The rule: the answer never exceeds what was configured, and a
//! percentage is of what larder could have: the free space and its own.

/// How much disk the store may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SizeLimit {
    /// Of the free space and the store's own, 1 to 100.
    pub percent: u8,
    /// Overrides the percentage where it is configured.
    pub absolute: Option<u64>,
}

impl Default for SizeLimit {
    /// The vendor's default for Max Cache Size: 20 percent.
    fn default() -> Self {
        Self {
            percent: 20,
            absolute: None,
        }
    }
}

impl SizeLimit {
    /// Just so many bytes.
    #[must_use]
    pub const fn bytes(bytes: u64) -> Self {
        Self {
            percent: 100,
            absolute: Some(bytes),
        }
    }

    /// The cap in bytes, given the free space and what the store uses now.
    #[must_use]
    pub fn cap(self, free_bytes: u64, own_bytes: u64) -> u64 {
        match self.absolute {
            Some(bytes) => bytes,
            None => {
                let all = u128::from(free_bytes) + u128::from(own_bytes);
                u64::try_from(all * u128::from(self.percent.min(100)) / 100).unwrap_or(u64::MAX)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_of_free_and_own_together() {
        let limit = SizeLimit {
            percent: 20,
            absolute: None,
        };
        assert_eq!(limit.cap(1000, 0), 200);
        assert_eq!(limit.cap(800, 200), 200);
        assert_eq!(limit.cap(0, 0), 0);
        assert_eq!(
            SizeLimit {
                percent: 255,
                absolute: None
            }
            .cap(u64::MAX, u64::MAX),
            u64::MAX
        );
    }

    #[test]
    fn an_absolute_size_overrides_the_percentage() {
        assert_eq!(
            SizeLimit {
                percent: 1,
                absolute: Some(5000)
            }
            .cap(10, 0),
            5000
        );
        assert_eq!(SizeLimit::bytes(7).cap(u64::MAX, 0), 7);
    }
}

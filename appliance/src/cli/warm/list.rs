//! The URLs that a warm is given. The rule: a list is read as it is worked on, so it may be of any length.

use std::io::{self, BufRead, Read};

/// A line of more bytes is no URL.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// URLs from the command line, or from a list with one in each line.
pub(super) enum Urls {
    Given(std::vec::IntoIter<String>),
    Listed(Box<dyn BufRead>),
}

impl Urls {
    /// The next one; None after the last.
    ///
    /// # Errors
    /// The list can not be read, or holds something other than lines of text.
    pub(super) fn next(&mut self) -> io::Result<Option<String>> {
        let list = match self {
            Self::Given(urls) => return Ok(urls.next()),
            Self::Listed(list) => list,
        };
        loop {
            let mut line = String::new();
            let count = list.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)?;
            if count == 0 {
                return Ok(None);
            }
            if count as u64 == LINE_BYTES_MAX {
                let words = format!("the list has a line of {LINE_BYTES_MAX} bytes or more");
                return Err(io::Error::new(io::ErrorKind::InvalidData, words));
            }
            let line = line.trim_start_matches('\u{feff}');
            // A # that nothing blank stands before is a part of the URL.
            let first = line.split_whitespace().next().unwrap_or_default();
            if !first.is_empty() && !first.starts_with('#') {
                let rest = line.split_once(first).map_or("", |(_, rest)| rest).trim();
                let all = rest.is_empty() || rest.starts_with('#');
                // What follows and is no comment makes it no URL, which whoever asks for it is told.
                return Ok(Some(if all { first } else { line.trim() }.to_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn all(text: &[u8]) -> io::Result<Vec<String>> {
        let mut urls = Urls::Listed(Box::new(Cursor::new(text.to_vec())));
        let mut all = Vec::new();
        while let Some(url) = urls.next()? {
            all.push(url);
        }
        Ok(all)
    }

    #[test]
    fn blank_lines_and_comments_are_passed_over() {
        let text = b"\xef\xbb\xbfhttp://a/1\r\n\n  # a comment\n\thttp://a/2#x \nhttp://a/3 # why\nhttp://a/ 4";
        let read = all(text).expect("a list");
        assert_eq!(
            read,
            ["http://a/1", "http://a/2#x", "http://a/3", "http://a/ 4"]
        );
        assert!(all(b"# nothing\n").expect("a list").is_empty());
    }

    #[test]
    fn what_is_no_text_is_told() {
        assert!(all(b"http://a/\xff\n").is_err());
        assert!(all(&vec![b'a'; 1 << 20]).is_err());
    }
}

//! One version of an object, "abc..." for as many bytes as it has, and an origin that serves it well. The rule: a byte
//! tells where it belongs and to which version, so that none is right in a wrong place.

use crate::download::tests::script::Asked;
use std::ops::Range;

/// Where the alphabet jumps, so that it does not come round with the pieces.
const ROW_BYTES: u64 = 4096;

/// The alphabet again and again, for a row that begins anywhere in it.
static LETTERS: [u8; ROW_BYTES as usize + 26] = {
    let mut letters = [0; ROW_BYTES as usize + 26];
    let mut at = 0;
    while at < letters.len() {
        letters[at] = b'a' + (at % 26) as u8;
        at += 1;
    }
    letters
};

/// See the file's head.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) length: u64,
    /// By how many letters its bytes are ahead of those of version 0.
    shift: u8,
    /// Header lines of every answer about it, each with its line end.
    pub(super) headers: String,
}

impl Version {
    /// Version `shift`, with these further header lines.
    pub(super) fn bare(length: u64, shift: u8, headers: &str) -> Self {
        Self {
            length,
            shift,
            headers: format!("Content-Type: application/x-cab\r\n{headers}"),
        }
    }

    /// Version `shift`, fresh for an hour, with a strong tag `"v0"` for version 0.
    pub(super) fn new(length: u64, shift: u8) -> Self {
        let tag = format!("ETag: \"v{shift}\"\r\n");
        Self::bare(
            length,
            shift,
            &format!("{tag}Cache-Control: max-age=3600\r\n"),
        )
    }

    pub(super) fn bytes(&self, span: Range<u64>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity((span.end - span.start) as usize);
        self.rows(span, |row| {
            bytes.extend_from_slice(row);
            true
        });
        bytes
    }

    /// Shows the bytes of a span row by row, for as long as `look` wants to see more.
    fn rows(&self, span: Range<u64>, mut look: impl FnMut(&[u8]) -> bool) {
        let mut at = span.start;
        while at < span.end {
            let row = at / ROW_BYTES;
            let end = span.end.min((row + 1) * ROW_BYTES);
            let phase = (at + 7 * row + u64::from(self.shift)) % 26;
            if !look(&LETTERS[phase as usize..][..(end - at) as usize]) {
                return;
            }
            at = end;
        }
    }

    pub(super) fn whole(&self) -> Vec<u8> {
        self.bytes(0..self.length)
    }

    /// True where these are the bytes from `start` on.
    pub(super) fn holds(&self, start: u64, bytes: &[u8]) -> bool {
        let end = start + bytes.len() as u64;
        let mut rest = bytes;
        if end <= self.length {
            self.rows(start..end, |row| {
                let (now, after) = rest.split_at(row.len());
                let same = now == row;
                if same {
                    rest = after;
                }
                same
            });
        }
        rest.is_empty() && end <= self.length
    }

    /// A header's value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    }

    /// What a good origin answers: conditions, then the range.
    pub(super) fn answer(&self, asked: &Asked) -> Vec<u8> {
        let tag = self.header("etag").map(str::to_lowercase);
        let date = self.header("last-modified").map(str::to_lowercase);
        let is_this = |value: &str| Some(value) == tag.as_deref() || Some(value) == date.as_deref();
        let condition = asked.header("if-none-match");
        let condition = condition.or_else(|| asked.header("if-modified-since"));
        if condition.is_some_and(is_this) {
            return format!("HTTP/1.1 304 Not Modified\r\n{}\r\n", self.headers).into_bytes();
        }
        let range = asked.range.filter(|_| {
            let one = asked.header("range").is_some_and(|set| !set.contains(','));
            one && asked.header("if-range").is_none_or(is_this)
        });
        let mut answer = match range {
            None => self.full(),
            Some((first, _)) if first as u64 >= self.length => self.unsatisfiable(),
            Some((first, last)) => {
                let end = last.map_or(self.length, |last| self.length.min(last as u64 + 1));
                self.part(first as u64..end)
            }
        };
        if asked.head.starts_with("head ") {
            let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
            answer.truncate(end.map_or(0, |end| end + 4));
        }
        answer
    }

    pub(super) fn full(&self) -> Vec<u8> {
        let mut answer = self.head("200 OK", self.length, "");
        answer.extend(self.whole());
        answer
    }

    pub(super) fn part(&self, span: Range<u64>) -> Vec<u8> {
        let range = format!("bytes {}-{}/{}", span.start, span.end - 1, self.length);
        self.part_called(span, &range)
    }

    /// A 206 with these bytes that says this of them.
    pub(super) fn part_called(&self, span: Range<u64>, content_range: &str) -> Vec<u8> {
        let range = format!("Content-Range: {content_range}\r\n");
        let length = span.end - span.start;
        let mut answer = self.head("206 Partial Content", length, &range);
        answer.extend(self.bytes(span));
        answer
    }

    fn unsatisfiable(&self) -> Vec<u8> {
        let range = format!("Content-Range: bytes */{}\r\n", self.length);
        self.head("416 Range Not Satisfiable", 0, &range)
    }

    /// The head of an answer with so many bytes of body.
    pub(super) fn head(&self, status: &str, length: u64, more: &str) -> Vec<u8> {
        let headers = &self.headers;
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}{headers}\r\n").into_bytes()
    }
}

//! Tables for people. The rule: a column is as wide as its widest cell, and the last one is never padded.

use std::fmt;

/// A table that is written when it is complete.
#[derive(Debug)]
pub(super) struct Table {
    /// Numbers stand to the right.
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings; one that begins with `>` has its cells to the right.
    pub(super) fn new(headings: &[&str]) -> Self {
        let names = headings
            .iter()
            .map(|h| h.trim_start_matches('>').to_owned());
        Self {
            right: headings.iter().map(|h| h.starts_with('>')).collect(),
            rows: vec![names.collect()],
        }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.right.len();
        let wide = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(wide).collect();
        for (at, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for ((cell, right), width) in row.iter().zip(&self.right).zip(&widths) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                if *right {
                    line.push_str(&format!("{cell:>width$}"));
                } else {
                    line.push_str(&format!("{cell:<width$}"));
                }
            }
            if at > 0 {
                f.write_str("\n")?;
            }
            f.write_str(line.trim_end())?;
        }
        Ok(())
    }
}

/// A number of bytes for people, in powers of 1024.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let mut value = number as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let mut table = Table::new(&["NAME", ">SIZE", "URL"]);
        table.row(["a".to_owned(), "10 B".to_owned(), "http://x/".to_owned()]);
        table.row(["bcdef".to_owned(), "1.0 MiB".to_owned(), String::new()]);
        let expected = "NAME      SIZE  URL\na         10 B  http://x/\nbcdef  1.0 MiB";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn bytes_keep_one_digit() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }
}

//! A configuration file as it is written: tables and values with their places. The rule: nothing that stands in the
//! file is passed over in silence; a key that nobody asked for, or of another type, becomes a problem.

use super::problem::{Problem, meant};
use std::ops::RangeInclusive;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// More names than these help nobody who reads an error.
const KEYS_TOLD_MAX: usize = 16;

/// A value with its key and its place in the file.
#[derive(Clone, Debug)]
pub(super) struct Spotted<T> {
    pub(super) value: T,
    pub(super) key: String,
    pub(super) at: usize,
}

impl<T> Spotted<T> {
    pub(super) fn problem(&self, what: impl Into<String>) -> Problem {
        Problem {
            at: self.at,
            key: self.key.clone(),
            what: what.into(),
        }
    }
}

/// Reads a file. What is not TOML is a problem, one for each line, since one slip is often several to a parser.
pub(super) fn parse(text: &str) -> (Spanned<DeTable<'_>>, Vec<Problem>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut problems: Vec<Problem> = errors
        .into_iter()
        .map(|error| Problem {
            at: error.span().map_or(0, |span| span.start),
            key: String::new(),
            what: format!("{}; see https://toml.io for the form", error.message()),
        })
        .collect();
    problems.sort_by_key(|problem| problem.at);
    let line_of = |problem: &Problem| {
        text.get(..problem.at)
            .map(|before| before.matches('\n').count())
    };
    problems.dedup_by_key(|problem| line_of(problem));
    (table, problems)
}

/// One table of the file, and which of its keys were asked for.
#[derive(Debug)]
pub(super) struct Section<'d> {
    name: String,
    table: Option<&'d DeTable<'d>>,
    known: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl<'d> Section<'d> {
    /// The file itself.
    pub(super) fn root(table: &'d DeTable<'d>) -> Self {
        Self {
            name: String::new(),
            table: Some(table),
            known: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }

    /// The value of a key, whatever its type.
    pub(super) fn any(&mut self, key: &'static str) -> Option<Spotted<&'d DeValue<'d>>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let (_, value) = self.table?.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(Spotted {
            value: value.get_ref(),
            key: self.path(key),
            at: value.span().start,
        })
    }

    /// Notes a problem.
    pub(super) fn add(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// `read` finds the value in what is there, or `wanted` says what to write.
    fn typed<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        read: impl FnOnce(&'d DeValue<'d>) -> Option<T>,
    ) -> Option<Spotted<T>> {
        let Spotted { value, key, at } = self.any(key)?;
        let spotted = Spotted {
            value: read(value),
            key,
            at,
        };
        match spotted.value {
            Some(value) => Some(Spotted {
                value,
                key: spotted.key,
                at,
            }),
            None => {
                let found = value.type_str();
                self.add(spotted.problem(format!("is of type {found}; write {wanted}")));
                None
            }
        }
    }

    pub(super) fn text(&mut self, key: &'static str, wanted: &str) -> Option<Spotted<&'d str>> {
        self.typed(key, wanted, DeValue::as_str)
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Option<Spotted<bool>> {
        self.typed(key, "true or false", DeValue::as_bool)
    }

    /// A whole number within `range`, in `unit`.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        unit: &str,
    ) -> Option<Spotted<u64>> {
        let wanted = format!(
            "a whole number from {} to {}{}{unit}",
            range.start(),
            range.end(),
            if unit.is_empty() { "" } else { ", in " },
        );
        let number = self.typed(key, &wanted, integer)?;
        match u64::try_from(number.value).ok() {
            Some(value) if range.contains(&value) => Some(Spotted {
                value,
                key: number.key,
                at: number.at,
            }),
            _ => {
                let what = format!("{} is out of range; write {wanted}", number.value);
                self.add(number.problem(what));
                None
            }
        }
    }

    /// A number of bytes: `"2GiB"`, `"500MB"`, or a plain number.
    pub(super) fn size(&mut self, key: &'static str) -> Option<Spotted<u64>> {
        let wanted = "a size, as in \"2GiB\", \"500MB\" or a number of bytes";
        let spelled = self.typed(key, wanted, |value| {
            value
                .as_str()
                .map(str::to_owned)
                .or_else(|| integer(value).map(|number| number.to_string()))
        })?;
        match size_of(&spelled.value) {
            Some(value) => Some(Spotted {
                value,
                key: spelled.key,
                at: spelled.at,
            }),
            None => {
                let what = format!("{:?} is no size; write {wanted}", spelled.value);
                self.add(spelled.problem(what));
                None
            }
        }
    }

    /// A list of strings, each with its own place.
    pub(super) fn texts(
        &mut self,
        key: &'static str,
        wanted: &str,
    ) -> Option<Spotted<Vec<Spotted<&'d str>>>> {
        let list = self.typed(key, wanted, DeValue::as_array)?;
        let mut texts = Vec::new();
        for item in list.value.iter() {
            let spotted = Spotted {
                value: item.get_ref(),
                key: list.key.clone(),
                at: item.span().start,
            };
            match spotted.value.as_str() {
                Some(value) => texts.push(Spotted {
                    value,
                    key: spotted.key,
                    at: spotted.at,
                }),
                None => {
                    let found = spotted.value.type_str();
                    let what =
                        format!("holds a value of type {found}; write strings, as in {wanted}");
                    self.add(spotted.problem(what));
                }
            }
        }
        Some(Spotted {
            value: texts,
            key: list.key,
            at: list.at,
        })
    }

    /// Whether a key holds a list of nothing, as opposed to one whose values are wrong.
    pub(super) fn is_empty_list(&mut self, key: &'static str) -> bool {
        let list = self.any(key).and_then(|spot| spot.value.as_array());
        list.is_some_and(|list| list.is_empty())
    }

    /// A table below this one; an empty one where it is not in the file. Its problems come back by
    /// [`Section::close`].
    pub(super) fn section(&mut self, key: &'static str) -> Section<'d> {
        let table = self.typed(
            key,
            &format!("a table, as in [{}]", self.path(key)),
            DeValue::as_table,
        );
        Section {
            name: self.path(key),
            table: table.map(|spotted| spotted.value),
            known: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Every key of a table that holds strings by free names: name, value.
    pub(super) fn pairs(&mut self, wanted: &str) -> Vec<(Spotted<&'d str>, &'d str)> {
        let mut pairs = Vec::new();
        for (name, value) in self.table.into_iter().flat_map(DeTable::iter) {
            let name = Spotted {
                value: name.get_ref().as_ref(),
                key: format!("{}.{:?}", self.name, name.get_ref()),
                at: value.span().start,
            };
            match value.get_ref().as_str() {
                Some(text) => pairs.push((name, text)),
                None => {
                    let what = format!("is of type {}; write {wanted}", value.get_ref().type_str());
                    self.problems.push(name.problem(what));
                }
            }
        }
        pairs
    }

    /// Every key of a table that holds lists of strings by free names: name, texts.
    pub(super) fn lists(&mut self, wanted: &str) -> Vec<(String, Vec<Spotted<&'d str>>)> {
        let mut lists = Vec::new();
        for (name, value) in self.table.into_iter().flat_map(DeTable::iter) {
            let key = format!("{}.{:?}", self.name, name.get_ref());
            let wrong = |at, what| Problem {
                at,
                key: key.clone(),
                what,
            };
            let Some(list) = value.get_ref().as_array() else {
                let what = format!("is of type {}; write {wanted}", value.get_ref().type_str());
                self.problems.push(wrong(value.span().start, what));
                continue;
            };
            let mut texts = Vec::new();
            for item in list.iter() {
                let at = item.span().start;
                match item.get_ref().as_str() {
                    Some(value) => texts.push(Spotted {
                        value,
                        key: key.clone(),
                        at,
                    }),
                    None => self.problems.push(wrong(at, format!("write {wanted}"))),
                }
            }
            lists.push((name.get_ref().to_string(), texts));
        }
        lists
    }

    /// Every key of a table that holds tables by free names: name, table.
    pub(super) fn tables(&mut self) -> Vec<(Spotted<&'d str>, Section<'d>)> {
        let mut tables = Vec::new();
        for (name, value) in self.table.into_iter().flat_map(DeTable::iter) {
            let key = format!("{}.{}", self.name, name.get_ref());
            let spot = Spotted {
                value: name.get_ref().as_ref(),
                key: key.clone(),
                at: name.span().start,
            };
            let Some(table) = value.get_ref().as_table() else {
                let what = format!(
                    "is of type {}; write a table, as in [{key}]",
                    value.get_ref().type_str()
                );
                self.problems.push(spot.problem(what));
                continue;
            };
            let section = Section {
                name: key,
                table: Some(table),
                known: Vec::new(),
                problems: Vec::new(),
            };
            tables.push((spot, section));
        }
        tables
    }

    /// The tables of a list, as in `[[links]]`, each with the place where it stands. Their problems come back by
    /// [`Section::close`].
    pub(super) fn list_of_tables(&mut self, key: &'static str) -> Vec<(Spotted<()>, Section<'d>)> {
        let wanted = format!("tables, as in [[{key}]]");
        let Some(list) = self.typed(key, &wanted, DeValue::as_array) else {
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in list.value.iter() {
            let spot = Spotted {
                value: (),
                key: list.key.clone(),
                at: item.span().start,
            };
            match item.get_ref().as_table() {
                Some(table) => {
                    let section = Section {
                        name: list.key.clone(),
                        table: Some(table),
                        known: Vec::new(),
                        problems: Vec::new(),
                    };
                    tables.push((spot, section));
                }
                None => {
                    let found = item.get_ref().type_str();
                    self.add(
                        spot.problem(format!("holds a value of type {found}; write {wanted}")),
                    );
                }
            }
        }
        tables
    }

    /// The keys that stand here, whether or not they mean anything.
    pub(super) fn keys(&self) -> Vec<String> {
        let keys = self.table.into_iter().flat_map(DeTable::iter);
        keys.map(|(name, _)| self.path(name.get_ref())).collect()
    }

    /// Ends the reading of a table whose keys are free: what was wrong with its values.
    pub(super) fn problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Ends the reading of a table: keys that nobody asked for are problems, too.
    pub(super) fn close(mut self) -> Vec<Problem> {
        for (name, _) in self.table.into_iter().flat_map(DeTable::iter) {
            let word: &str = name.get_ref();
            if self.known.contains(&word) {
                continue;
            }
            let advice = match meant(word, &self.known) {
                Some(other) => format!("did you mean {other}?"),
                None if self.known.len() > KEYS_TOLD_MAX => "take it out".to_owned(),
                None => format!("take it out, or use one of: {}", self.known.join(", ")),
            };
            self.problems.push(Problem {
                at: name.span().start,
                key: self.path(word),
                what: format!("is not known; {advice}"),
            });
        }
        self.problems
    }
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// Reads `2GiB`, `500 MB`, `1048576`.
pub(crate) fn size_of(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1_u64 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_both_kinds() {
        let cases = [
            ("2GiB", Some(2 << 30)),
            ("500MB", Some(500_000_000)),
            ("500 MB", Some(500_000_000)),
            ("4096", Some(4096)),
            ("1kB", Some(1000)),
            ("1 TiB", Some(1 << 40)),
            ("2G", None),
            ("1.5GiB", None),
            ("-1", None),
            ("GiB", None),
            ("", None),
            ("99999999999TiB", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(size_of(text), bytes, "{text:?}");
        }
    }
}

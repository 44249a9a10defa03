//! What device management gives out as JSON, and the Linux agent's `admin-config.json`. The rule: an object that names
//! a setting by its OMA-URI or its definition is one, wherever it stands; only where there is none such, the keys of
//! the outermost object are settings themselves.

use super::{Entry, ImportError, Origin, Raw};
use serde_json::{Map, Value};

/// The area, in an OMA-URI: `./Device/Vendor/MSFT/Policy/Config/DeliveryOptimization/DODownloadMode`.
const AREA: &str = "/deliveryoptimization/";
/// The same in the settings catalogue's definitions.
const DEFINED: &str = "_policy_config_deliveryoptimization_";

pub(super) fn read(text: &str, notes: &mut Vec<String>) -> Result<Vec<Entry>, ImportError> {
    let value: Value = serde_json::from_str(text).map_err(|error| ImportError::Broken {
        line: error.line(),
        what: format!("is not JSON: {error}; export it again"),
    })?;
    let mut found = Found::default();
    found.walk(&value);
    if found.others > 0 {
        let others = found.others;
        notes.push(format!(
            "{others} settings of other areas than DeliveryOptimization are passed over"
        ));
    }
    if found.entries.is_empty() && found.others == 0 {
        flat(&value, &mut found.entries);
    }
    Ok(found.entries)
}

#[derive(Default)]
struct Found {
    entries: Vec<Entry>,
    /// Settings of other areas.
    others: usize,
}

impl Found {
    fn add(&mut self, name: &str, raw: Raw, place: &str) {
        self.entries.push(Entry {
            name: name.to_owned(),
            raw,
            from: Origin::Policy,
            place: place.to_owned(),
        });
    }

    fn walk(&mut self, value: &Value) {
        match value {
            Value::Array(all) => all.iter().for_each(|value| self.walk(value)),
            Value::Object(object) => self.object(object),
            _ => {}
        }
    }

    fn object(&mut self, object: &Map<String, Value>) {
        if let Some(uri) = text_of(object, &["omauri", "uri", "locuri"]) {
            let value = field(object, &["value", "data"]).unwrap_or(&Value::Null);
            return self.uri(uri, value);
        }
        if let Some(defined) = text_of(object, &["settingdefinitionid"]) {
            self.defined(defined, object);
        }
        for (key, value) in object {
            if key.contains('/') && key.to_ascii_lowercase().contains("/vendor/msft/") {
                let inner = value.as_object().and_then(|of| field(of, &["value"]));
                self.uri(key, inner.unwrap_or(value));
            } else {
                self.walk(value);
            }
        }
    }

    fn uri(&mut self, uri: &str, value: &Value) {
        let lower = uri.to_ascii_lowercase();
        let name = lower
            .rfind(AREA)
            .and_then(|at| uri.get(at + AREA.len()..))
            .filter(|name| !name.is_empty() && !name.contains('/'));
        match name {
            Some(name) => self.add(name, raw(value), uri),
            None => self.others += 1,
        }
    }

    /// A setting of the catalogue: its value stands in a field that is named for its kind, and what belongs to it in
    /// `children`, which are walked as anything else is.
    fn defined(&mut self, defined: &str, object: &Map<String, Value>) {
        let lower = defined.to_ascii_lowercase();
        if !lower.contains(DEFINED) {
            self.others += 1;
            return;
        }
        let name = lower.rsplit('_').next().unwrap_or_default();
        let simple = field(object, &["simplesettingvalue"])
            .and_then(Value::as_object)
            .and_then(|value| field(value, &["value"]));
        let choice = field(object, &["choicesettingvalue"])
            .and_then(Value::as_object)
            .and_then(|value| text_of(value, &["value"]));
        let list = field(object, &["simplesettingcollectionvalue"]).and_then(Value::as_array);
        let found = if let Some(value) = simple {
            raw(value)
        } else if let Some(choice) = choice {
            let chosen = choice.get(defined.len() + 1..).unwrap_or(choice);
            Raw::Text(chosen.to_owned())
        } else if let Some(list) = list {
            let texts = list.iter().filter_map(|item| match item {
                Value::Object(item) => text_of(item, &["value"]),
                item => item.as_str(),
            });
            Raw::Text(texts.collect::<Vec<_>>().join(","))
        } else {
            return;
        };
        self.add(name, found, defined);
    }
}

/// An object whose keys are settings, as the Linux agent's file and what PowerShell makes of a registry key.
fn flat(value: &Value, entries: &mut Vec<Entry>) {
    let Value::Object(object) = value else { return };
    for (key, value) in object {
        let of_powershell = [
            "PSPath",
            "PSParentPath",
            "PSChildName",
            "PSDrive",
            "PSProvider",
        ];
        if key.eq_ignore_ascii_case("DeliveryOptimization") {
            flat(value, entries);
        } else if !of_powershell.contains(&key.as_str()) {
            entries.push(Entry {
                name: key.clone(),
                raw: raw(value),
                from: Origin::Policy,
                place: "a key of the file".to_owned(),
            });
        }
    }
}

fn raw(value: &Value) -> Raw {
    match value {
        Value::Bool(flag) => Raw::Flag(*flag),
        Value::Number(number) => number
            .as_i64()
            .map_or_else(|| Raw::Text(number.to_string()), Raw::Number),
        Value::String(text) => Raw::Text(text.clone()),
        Value::Null => Raw::Text(String::new()),
        Value::Array(all) if all.iter().all(Value::is_string) => {
            let texts: Vec<_> = all.iter().filter_map(Value::as_str).collect();
            Raw::Text(texts.join(","))
        }
        Value::Array(_) => Raw::Other("a list"),
        Value::Object(_) => Raw::Other("an object"),
    }
}

/// A field, however its name is written (`omaUri`, `OMA-URI`).
fn field<'v>(object: &'v Map<String, Value>, names: &[&str]) -> Option<&'v Value> {
    let plain = |key: &str| -> String {
        let letters = key.chars().filter(char::is_ascii_alphanumeric);
        letters.map(|c| c.to_ascii_lowercase()).collect()
    };
    let mut fields = object.iter();
    fields
        .find(|(key, _)| names.contains(&plain(key).as_str()))
        .map(|(_, value)| value)
}

fn text_of<'v>(object: &'v Map<String, Value>, names: &[&str]) -> Option<&'v str> {
    field(object, names).and_then(Value::as_str)
}

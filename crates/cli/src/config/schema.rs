//! The JSON Schema of a configuration, from the table of keys.

use serde_json::{Map, Value, json};

use super::keys::{self, FILE_SUFFIX, Key, Keys, Kind, Standing};

/// The sections that others refer to.
const SECTIONS: [&Keys; 9] = [
    &keys::DATABASE,
    &keys::REPLICA,
    &keys::AGE,
    &keys::SNAPSHOT,
    &keys::LEVEL,
    &keys::RETENTION,
    &keys::VALIDATION,
    &keys::LOGGING,
    &keys::SOCKET,
];

/// The whole schema. Editors read it from a comment such as
/// `# yaml-language-server: $schema=config.schema.json`.
pub fn document() -> Value {
    let mut root = section(&keys::ROOT);
    let defs = SECTIONS.iter().map(|keys| (keys.name.to_owned(), section(keys)));
    root["$defs"] = defs.chain(scalars()).collect::<Map<_, _>>().into();
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    root["title"] = "brooklet".into();
    root["required"] = json!(["dbs"]);
    root
}

fn section(keys: &Keys) -> Value {
    let allowed = keys.iter().filter(|key| key.is_allowed());
    let properties: Map<_, _> = allowed.flat_map(properties).collect();
    json!({
        "description": sentence(keys.about),
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": properties,
    })
}

/// A key; and the one for a file, if it is a secret.
fn properties(key: &Key) -> Vec<(String, Value)> {
    let mut all = vec![(key.name.to_owned(), property(key))];
    if let Kind::Secret = key.kind {
        let about = format!("A file that holds {}.", key.name);
        let file = json!({"$ref": "#/$defs/text", "description": about});
        all.push((format!("{}{FILE_SUFFIX}", key.name), file));
    }
    all
}

fn property(key: &Key) -> Value {
    let mut about = key.about.to_owned();
    if !key.default.is_empty() {
        about += &format!(" Default: {}.", key.default);
    }
    if !key.backends.is_empty() {
        about += &format!(" For {}.", key.backends.join(", "));
    }
    let mut property = kind(key.kind);
    match key.standing {
        Standing::Moot(why) => about += &format!(" Without effect: {why}."),
        Standing::Ignored(became) => {
            about = sentence(became);
            property["deprecated"] = true.into();
        }
        Standing::Read | Standing::Dropped(_) => {}
    }
    property["description"] = about.into();
    property
}

fn kind(kind: Kind) -> Value {
    let name = match kind {
        Kind::Text | Kind::Place | Kind::Secret => "text",
        Kind::Flag => "flag",
        Kind::Duration => "duration",
        Kind::Interval => "interval",
        Kind::Count => "count",
        Kind::Integer => "integer",
        Kind::Bytes => "bytes",
        Kind::Mode => "mode",
        Kind::Choice(words) => {
            return json!({"anyOf": [{"enum": words}, {"$ref": "#/$defs/variable"}]});
        }
        Kind::Texts => return json!({"type": "array", "items": {"$ref": "#/$defs/text"}}),
        Kind::Section(keys) => keys.name,
        Kind::Sections(keys) => {
            return json!({"type": "array", "items": {"$ref": format!("#/$defs/{}", keys.name)}});
        }
    };
    json!({"$ref": format!("#/$defs/{name}")})
}

/// What scalars look like. Each may be a variable instead.
fn scalars() -> impl Iterator<Item = (String, Value)> {
    let text = |pattern: &str| json!({"type": "string", "pattern": pattern});
    let any = |of: Vec<Value>| {
        let variable = json!({"$ref": "#/$defs/variable"});
        json!({"anyOf": of.into_iter().chain([variable]).collect::<Vec<_>>()})
    };
    let duration = || text(r"^(0|\+?((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)$");
    let truth =
        text("^([Tt]rue|TRUE|[Yy]es|YES|[Oo]n|ON|[Yy]|[Ff]alse|FALSE|[Nn]o|NO|[Oo]ff|OFF|[Nn])$");
    let named = [
        ("variable", text(r"\$")),
        ("text", json!({"type": ["string", "number", "boolean"]})),
        ("flag", any(vec![json!({"type": "boolean"}), truth])),
        ("duration", any(vec![duration(), json!({"const": 0})])),
        ("interval", any(vec![duration()])),
        ("count", any(vec![json!({"type": "integer", "minimum": 1}), text("^[1-9][0-9]*$")])),
        ("integer", any(vec![json!({"type": "integer"}), text("^-?[0-9]+$")])),
        (
            "bytes",
            any(vec![
                json!({"type": "integer", "minimum": 0}),
                text(r"^[0-9]+(\.[0-9]+)?\s*([kKmMgGtT]([iI]?[bB])?|[bB])?$"),
            ]),
        ),
        ("mode", any(vec![json!({"type": "integer"}), text("^(0o)?[0-7]{1,4}$")])),
    ];
    named.into_iter().map(|(name, schema)| (name.to_owned(), schema))
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}

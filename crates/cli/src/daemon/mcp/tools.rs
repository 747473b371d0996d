//! The tools, under Litestream's names, and what each is told.

use serde_json::{Map, Value, json};

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    Info,
    Databases,
    Status,
    Ltx,
    Restore,
    Reset,
    Version,
}

/// What a tool is told.
pub struct Parameter {
    pub name: &'static str,
    pub kind: Kind,
    about: &'static str,
}

/// What a value must be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// A text that must be given.
    Needed,
    Flag,
    Count,
}

/// Whoever presents no token is told only of the daemon's own.
pub const CONFIG: Parameter = Parameter {
    name: "config",
    kind: Kind::Text,
    about: "Another configuration file than the daemon's own",
};

const fn parameter(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
    Parameter { name, kind, about }
}

const DATABASE: &str = "A database of the configuration";
const SOURCE: &str = "A database of the configuration, or a replica's URL";
const RESTORE: &[Parameter] = &[
    parameter("path", Kind::Needed, SOURCE),
    parameter("o", Kind::Text, "Where to; needed with a URL"),
    CONFIG,
    parameter("txid", Kind::Text, "The state after this transaction: 16 hex digits"),
    parameter("timestamp", Kind::Text, "The last state at or before this moment"),
    parameter("parallelism", Kind::Count, "Worker threads"),
    parameter("if_db_not_exists", Kind::Flag, "Do nothing if the database is there"),
    parameter("if_replica_exists", Kind::Flag, "Do nothing if there is no backup"),
];

impl Tool {
    pub const ALL: [Tool; 7] = [
        Tool::Info,
        Tool::Databases,
        Tool::Status,
        Tool::Ltx,
        Tool::Restore,
        Tool::Reset,
        Tool::Version,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Tool::Info => "litestream_info",
            Tool::Databases => "litestream_databases",
            Tool::Status => "litestream_status",
            Tool::Ltx => "litestream_ltx",
            Tool::Restore => "litestream_restore",
            Tool::Reset => "litestream_reset",
            Tool::Version => "litestream_version",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Tool::Info => "What this daemon is, what it replicates, and how far behind it is",
            Tool::Databases => "The databases of the configuration, and their replicas",
            Tool::Status => "Where databases stand on this machine",
            Tool::Ltx => "The newest files of a replica, with their TXIDs and moments",
            Tool::Restore => {
                "Restore a database from its replica. An existing file is never replaced"
            }
            Tool::Reset => {
                "Forget the local state of a database that is not being replicated, so that its \
                 next sync starts over"
            }
            Tool::Version => "The version of this program",
        }
    }

    /// Whether it changes nothing.
    pub fn only_looks(self) -> bool {
        !matches!(self, Tool::Restore | Tool::Reset)
    }

    pub fn parameters(self) -> &'static [Parameter] {
        match self {
            Tool::Info | Tool::Databases => const { &[CONFIG] },
            Tool::Status => const { &[parameter("path", Kind::Text, DATABASE), CONFIG] },
            Tool::Ltx => const { &[parameter("path", Kind::Needed, SOURCE), CONFIG] },
            Tool::Restore => RESTORE,
            Tool::Reset => const { &[parameter("path", Kind::Needed, DATABASE), CONFIG] },
            Tool::Version => &[],
        }
    }

    /// Those parameters that whoever asks may use.
    fn offered(self, all: bool) -> impl Iterator<Item = &'static Parameter> {
        self.parameters().iter().filter(move |it| all || it.name != CONFIG.name)
    }

    /// What a client is told of it.
    pub fn described(self, all: bool) -> Value {
        let property = |it: &Parameter| {
            let kind = match it.kind {
                Kind::Text | Kind::Needed => "string",
                Kind::Flag => "boolean",
                Kind::Count => "integer",
            };
            (it.name.to_owned(), json!({"type": kind, "description": it.about}))
        };
        let properties: Map<String, Value> = self.offered(all).map(property).collect();
        let needed = self.offered(all).filter(|it| it.kind == Kind::Needed);
        let needed: Vec<&str> = needed.map(|it| it.name).collect();
        json!({
            "name": self.name(),
            "description": self.about(),
            "inputSchema": {"type": "object", "properties": properties, "required": needed},
            "annotations": {"readOnlyHint": self.only_looks()},
        })
    }
}

impl Parameter {
    /// A value as it is typed; none if it says nothing.
    pub fn read(&self, value: &Value) -> Result<Option<String>, String> {
        match (self.kind, value) {
            (_, Value::Null) => Ok(None),
            (Kind::Text | Kind::Needed, Value::String(text)) => {
                Ok((!text.is_empty()).then(|| text.clone()))
            }
            (Kind::Flag, Value::Bool(flag)) => Ok(Some(flag.to_string())),
            (Kind::Count, Value::Number(count)) => Ok(Some(count.to_string())),
            // Litestream's takes numbers as texts.
            (Kind::Count, Value::String(count)) => Ok(Some(count.clone())),
            _ => Err(format!("{}: {value} is not a value for it", self.name)),
        }
    }
}

//! Logs: one line each, with the same keys as Litestream's (`time level msg`, then fields).

use std::fmt::{self, Write};
use std::io::IsTerminal;
use std::str::FromStr;

use tracing::field::{Field, Visit};
use tracing::subscriber::set_global_default;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

/// How important a line must be to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Everything.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What changes.
    Info,
    /// What somebody should look at.
    Warn,
    /// What failed.
    Error,
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Level, String> {
        match text.to_ascii_lowercase().as_str() {
            "trace" => Ok(Level::Trace),
            "debug" => Ok(Level::Debug),
            "info" => Ok(Level::Info),
            "warn" | "warning" => Ok(Level::Warn),
            "error" => Ok(Level::Error),
            _ => Err(format!("{text:?} is not a level")),
        }
    }
}

/// How a line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// `key=value` pairs.
    #[default]
    Text,
    /// One JSON object.
    Json,
    /// For people.
    Pretty,
}

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The default.
    Stderr,
    /// With `stderr: false` in the configuration.
    Stdout,
}

/// The level that the environment asks for: a name that is none of ours is another program's.
pub fn level_from_environment() -> Option<Level> {
    let variable = |name| std::env::var(name).ok()?.parse().ok();
    variable("LITESTREAM_LOG_LEVEL").or_else(|| variable("LOG_LEVEL"))
}

/// How lines are written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// What they look like.
    pub format: Format,
    /// Whether they name their place in our source.
    pub source: bool,
}

/// Begins to log. Only the first call counts.
pub fn start(level: Level, style: Style, target: Target) {
    let filter = Targets::new().with_default(match level {
        Level::Trace => LevelFilter::TRACE,
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warn => LevelFilter::WARN,
        Level::Error => LevelFilter::ERROR,
    });
    let is_terminal = match target {
        Target::Stderr => std::io::stderr().is_terminal(),
        Target::Stdout => std::io::stdout().is_terminal(),
    };
    let colours = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
    let line = Line { style, colours };
    let line = || tracing_subscriber::fmt::layer().with_ansi(false).event_format(line);
    let registry = tracing_subscriber::registry().with(filter);
    let _ = match target {
        Target::Stderr => set_global_default(registry.with(line().with_writer(std::io::stderr))),
        Target::Stdout => set_global_default(registry.with(line().with_writer(std::io::stdout))),
    };
}

/// Formats one event.
#[derive(Debug, Clone, Copy)]
struct Line {
    style: Style,
    colours: bool,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        if let Some((file, line)) =
            metadata.file().zip(metadata.line()).filter(|_| self.style.source)
        {
            fields.others.insert(0, ("source", format!("{file}:{line}").into()));
        }
        let level = metadata.level().as_str();
        let line = match self.style.format {
            Format::Text => text(&now(), level, &fields),
            Format::Pretty => pretty(&clock(), level, &fields, self.colours),
            Format::Json => json(&now(), level, &fields),
        };
        writeln!(writer, "{line}")
    }
}

fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// The time of day here.
fn clock() -> String {
    jiff::Zoned::now().strftime("%H:%M:%S").to_string()
}

fn text(time: &str, level: &str, fields: &Fields) -> String {
    let message = quoted(&fields.message);
    format!("time={time} level={level} msg={message}{}", pairs(fields, "", ""))
}

/// For people: the message as it is, and what belongs to it fainter.
fn pretty(clock: &str, level: &str, fields: &Fields, colours: bool) -> String {
    let colour = match level {
        "ERROR" => "\x1b[31m",
        "WARN" => "\x1b[33m",
        "INFO" => "\x1b[32m",
        _ => "\x1b[36m",
    };
    let [colour, faint, end] = if colours { [colour, "\x1b[2m", "\x1b[0m"] } else { [""; 3] };
    let message = &fields.message;
    format!("{faint}{clock}{end} {colour}{level:5}{end} {message}{}", pairs(fields, faint, end))
}

fn pairs(fields: &Fields, before: &str, after: &str) -> String {
    let mut pairs = String::new();
    for (key, value) in &fields.others {
        let value = value.as_str().map_or_else(|| value.to_string(), quoted);
        let _ = write!(pairs, " {before}{key}={after}{value}");
    }
    pairs
}

/// A value as it is if it reads as one word, else in quotes.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:@+%,".contains(c);
    match !value.is_empty() && value.chars().all(plain) {
        true => value.to_owned(),
        false => format!("{value:?}"),
    }
}

fn json(time: &str, level: &str, fields: &Fields) -> String {
    let mut line = serde_json::Map::new();
    line.insert("time".into(), time.into());
    line.insert("level".into(), level.into());
    line.insert("msg".into(), fields.message.as_str().into());
    for (key, value) in &fields.others {
        line.insert((*key).into(), value.clone());
    }
    serde_json::Value::Object(line).to_string()
}

/// The message of an event and its other fields.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, serde_json::Value)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: serde_json::Value) {
        match (field.name(), value) {
            ("message", serde_json::Value::String(text)) => self.message = text,
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        let others =
            vec![("db", "/srv/my shop.db".into()), ("txid", 7.into()), ("to", "a/b".into())];
        Fields { message: "database synced".into(), others }
    }

    #[test]
    fn text_quotes_what_is_not_one_word() {
        assert_eq!(
            text("T", "INFO", &fields()),
            r#"time=T level=INFO msg="database synced" db="/srv/my shop.db" txid=7 to=a/b"#
        );
    }

    #[test]
    fn pretty_lines_are_for_people() {
        let line = "12:34:56 INFO  database synced db=\"/srv/my shop.db\" txid=7 to=a/b";
        assert_eq!(pretty("12:34:56", "INFO", &fields(), false), line);
        let coloured = pretty("12:34:56", "WARN", &Fields::default(), true);
        assert_eq!(coloured, "\x1b[2m12:34:56\x1b[0m \x1b[33mWARN \x1b[0m ");
    }

    #[test]
    fn json_is_one_object() {
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&json("T", "WARN", &fields())).unwrap(),
            serde_json::json!({"time": "T", "level": "WARN", "msg": "database synced",
                "db": "/srv/my shop.db", "txid": 7, "to": "a/b"})
        );
    }

    #[test]
    fn levels_are_read_in_any_case() {
        assert_eq!("WARNING".parse(), Ok(Level::Warn));
        assert_eq!("Trace".parse(), Ok(Level::Trace));
        assert!("loud".parse::<Level>().is_err());
    }
}

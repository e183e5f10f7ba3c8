//! The log: tracing's events on standard error, as `[log]` says.

use std::str::FromStr;

use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::config::{LogFormat, LogSection};
use crate::terminal::Terminal;

/// Why there is no log.
#[derive(Debug, Error)]
pub enum LogError {
    /// A word that tracing would take for the name of a target, and so silence all others.
    #[error(
        "log.filter: `{0}` is neither a level (off, error, warn, info, debug, trace) nor target=level"
    )]
    NoDirective(String),
    /// One of the filter's directives is none.
    #[error("log.filter: `{directive}`: {error}")]
    Directive {
        /// The directive as it is written.
        directive: String,
        /// What tracing says.
        #[source]
        error: ParseError,
    },
    /// Events of this process already go elsewhere.
    #[error("the log of this process was set up before")]
    Installed,
}

/// Sends the events of this process to standard error, for as long as it runs.
///
/// *Errors:* see [`LogError`].
pub fn install_log(section: &LogSection, terminal: &Terminal) -> Result<(), LogError> {
    let log = subscriber(section, terminal.clone())?;
    log.try_init().map_err(|_| LogError::Installed)
}

/// What writes the events that the section asks for.
fn subscriber<W>(section: &LogSection, to: W) -> Result<impl Subscriber + Send + Sync, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = filter(&section.filter)?;
    let lines = fmt::layer().with_writer(to);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match section.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    Ok(Registry::default().with(lines.with_filter(filter)))
}

/// Directives, each a level or `target=level`, with commas between them.
fn filter(text: &str) -> Result<Targets, LogError> {
    let directives: Vec<_> = text.split(',').map(str::trim).collect();
    for directive in &directives {
        // Tracing takes nothing for the level `error`.
        let level = directive.rsplit('=').next().unwrap_or_default();
        if level.is_empty() || !directive.contains('=') && LevelFilter::from_str(level).is_err() {
            return Err(LogError::NoDirective((*directive).to_owned()));
        }
        refuse(directive, Targets::from_str(directive))?;
    }
    // Without the spaces, which would become parts of targets' names.
    refuse(text, Targets::from_str(&directives.join(",")))
}

fn refuse(directive: &str, parsed: Result<Targets, ParseError>) -> Result<Targets, LogError> {
    parsed.map_err(|error| LogError::Directive { directive: directive.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written of a few events.
    #[expect(clippy::cognitive_complexity, reason = "what is counted is in tracing's macros")]
    fn written(filter: &str, format: LogFormat) -> String {
        let written = Written::default();
        let to = written.clone();
        let section = LogSection { filter: filter.into(), format };
        let log = subscriber(&section, move || to.clone()).unwrap();
        tracing::subscriber::with_default(log, || {
            tracing::info!(target: "ketch_net", shard = 3, "ours");
            tracing::info!(target: "libp2p_kad::behaviour", "theirs");
            tracing::warn!(target: "libp2p_swarm", "loud");
            tracing::debug!(target: "ketch_node", "fine");
        });
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn libraries_are_as_quiet_as_the_filter_says() {
        let text = written("info,libp2p=warn", LogFormat::Text);
        assert!(text.contains("ours") && text.contains("loud"), "{text}");
        assert!(!text.contains("theirs") && !text.contains("fine"), "{text}");
        let text = written("warn, ketch_node=debug", LogFormat::Text);
        assert!(text.contains("fine") && text.contains("loud") && !text.contains("ours"), "{text}");
        assert_eq!(written("off", LogFormat::Text), "");
    }

    #[test]
    fn json_is_an_object_a_line_with_the_events_fields_in_it() {
        let text = written("info,libp2p=off", LogFormat::Json);
        let event: Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!((&event["shard"], &event["message"]), (&3.into(), &"ours".into()));
        assert_eq!((&event["level"], &event["target"]), (&"INFO".into(), &"ketch_net".into()));
    }

    #[test]
    fn a_wrong_filter_names_its_key_and_the_wrong_directive() {
        for (text, wrong) in [
            ("wran", "`wran` is neither"),
            ("", "`` is neither"),
            ("info,", "`` is neither"),
            ("ketch_net=", "`ketch_net=` is neither"),
            ("info,ketch_net=debg", "`ketch_net=debg`: "),
            ("a=b=c", "`a=b=c`: "),
        ] {
            let error = filter(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("log.filter: {wrong}")), "{error}");
        }
    }
}

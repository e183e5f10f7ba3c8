use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::LogFormat;

/// Standard error, which the log and the bars of progress share.
///
/// *Shape:* a cheap handle. The bars step aside while a line of the log is written, so that neither
/// writes into the other.
#[derive(Clone, Debug)]
pub struct Terminal {
    /// None where nobody looks at bars: a file, a pipe, a program that reads JSON.
    bars: Option<MultiProgress>,
}

impl Terminal {
    /// Standard error, with bars if it is a terminal and its lines are for people.
    pub fn of_stderr(format: LogFormat) -> Self {
        let shows_bars = format == LogFormat::Text && io::stderr().is_terminal();
        Self { bars: shows_bars.then(MultiProgress::new) }
    }

    /// Where bars are shown, if they are.
    pub(crate) fn bars(&self) -> Option<&MultiProgress> {
        self.bars.as_ref()
    }

    #[cfg(test)]
    pub(crate) fn of_bars(bars: Option<MultiProgress>) -> Self {
        Self { bars }
    }
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.bars {
            Some(bars) => bars.suspend(|| io::stderr().write(bytes)),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for Terminal {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

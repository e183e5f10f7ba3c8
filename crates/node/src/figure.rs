//! Figures as people read them, the same in the log, on bars and in tables.

use std::fmt;

/// A number of bytes, rounded down to a tenth of its unit: `12.3MiB`.
///
/// [`ketch_types::ByteSize`] is written exactly, for configurations; this is for reading alone.
pub(crate) struct ByteFigure(pub(crate) u64);

/// A number of bytes in each second: `12.3MiB/s`.
pub(crate) struct RateFigure(pub(crate) u64);

/// A time in seconds, of which the two largest units are told: `4.2s`, `3m20s`, `-2h05m`.
pub(crate) struct TimeFigure(pub(crate) f64);

/// A share of a whole, in percent, rounded down so that only the whole is 100.0%.
pub(crate) struct PercentFigure(pub(crate) f64);

/// A figure that may be unknown, which is shown as a dash.
pub(crate) struct Known<T>(pub(crate) Option<T>);

/// A text of others on one line, so that it can neither end a line nor steer a terminal.
pub(crate) struct OneLine<'a>(pub(crate) &'a str);

const BYTE_UNITS: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Longer times say nothing more. *Units:* seconds.
const TIME_MAX: f64 = 1_000.0 * 86_400.0;

impl fmt::Display for ByteFigure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = BYTE_UNITS.iter().find(|(_, unit)| self.0 >= *unit);
        let text = match unit {
            Some((name, unit)) => {
                let tenths = u128::from(self.0) * 10 / u128::from(*unit);
                format!("{}.{}{name}", tenths / 10, tenths % 10)
            }
            None => format!("{}B", self.0),
        };
        f.pad(&text)
    }
}

impl fmt::Display for RateFigure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/s", ByteFigure(self.0)))
    }
}

impl fmt::Display for TimeFigure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_nan() {
            return f.pad("-");
        }
        let sign = if self.0 < 0.0 { "-" } else { "" };
        let length = self.0.abs();
        if length >= TIME_MAX {
            return f.pad(&format!("{sign}>999d"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked above"
        )]
        let tenths = (length * 10.0) as u64;
        let seconds = tenths / 10;
        let text = match seconds {
            0..10 => format!("{seconds}.{}s", tenths % 10),
            10..60 => format!("{seconds}s"),
            60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
            3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
            _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
        };
        f.pad(&format!("{sign}{text}"))
    }
}

impl fmt::Display for PercentFigure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0.clamp(0.0, 1.0) * 1_000.0).floor();
        f.pad(&format!("{:.1}%", tenths / 10.0))
    }
}

impl<T: fmt::Display> fmt::Display for Known<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(figure) => figure.fmt(f),
            None => f.pad("-"),
        }
    }
}

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        f.pad(&self.0.chars().map(shown).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_rounded_down_to_tenths_of_the_largest_unit_that_fits() {
        for (bytes, text) in [
            (0, "0B"),
            (1_023, "1023B"),
            (1_024, "1.0KiB"),
            ((1 << 20) - 1, "1023.9KiB"),
            (12_900_000, "12.3MiB"),
            (10 << 30, "10.0GiB"),
            (u64::MAX, "16777215.9TiB"),
        ] {
            assert_eq!(ByteFigure(bytes).to_string(), text);
        }
        assert_eq!(RateFigure(3 << 20).to_string(), "3.0MiB/s");
        assert_eq!(format!("{:>8}", ByteFigure(1_024)), "  1.0KiB");
    }

    #[test]
    fn times_tell_their_two_largest_units_and_their_sign() {
        for (seconds, text) in [
            (0.0, "0.0s"),
            (4.27, "4.2s"),
            (59.99, "59s"),
            (200.0, "3m20s"),
            (-7_500.0, "-2h05m"),
            (3.0 * 86_400.0 + 4.5 * 3_600.0, "3d04h"),
            (f64::INFINITY, ">999d"),
            (f64::NEG_INFINITY, "->999d"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(TimeFigure(seconds).to_string(), text);
        }
        assert_eq!(Known(None::<TimeFigure>).to_string(), "-");
    }

    #[test]
    fn nothing_but_the_whole_is_a_hundred_percent() {
        assert_eq!(PercentFigure(0.999_99).to_string(), "99.9%");
        assert_eq!(PercentFigure(1.0).to_string(), "100.0%");
        assert_eq!(PercentFigure(0.0).to_string(), "0.0%");
    }

    #[test]
    fn a_text_of_others_cannot_steer_the_terminal() {
        assert_eq!(OneLine("a\x1b[2J\nb\u{9b}").to_string(), "a [2J b ");
    }
}

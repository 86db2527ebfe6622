//! The option of the commands that print colours.

use clap::{Args, ColorChoice};

#[derive(Debug, Args)]
pub struct ColorOption {
    /// Print colours: auto, always or never
    ///
    /// `auto` prints them on a terminal, unless the environment variable NO_COLOR is set to something, or
    /// TERM is `dumb`.
    #[arg(long, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    pub color: ColorChoice,
}

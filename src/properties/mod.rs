//! What must hold for any bytes from outside, as functions that panic where it does not.
//!
//! The fuzz targets in `fuzz/` call them with inputs of their own making, and the tests below with the
//! inputs in `fuzz/corpus`, which those runs have found worth keeping.

mod command;
mod datagram;
mod model;
#[cfg(test)]
mod sequences;

pub use crate::node::properties::frame;
pub use command::command;
pub use datagram::datagram;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Miri takes seconds for each of the long ones.
    const LONGEST_FOR_MIRI: usize = 100;

    fn replay(target: &str, property: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for file in files {
            let path = file.expect("a folder that can be read").path();
            let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            if cfg!(miri) && bytes.len() > LONGEST_FOR_MIRI {
                continue;
            }
            // Shown only if the property fails.
            println!("{}", path.display());
            property(&bytes);
            count += 1;
        }
        assert!(count > 0, "{} is empty", folder.display());
    }

    #[test]
    fn every_kept_datagram_has_the_properties() {
        replay("datagram", super::datagram);
    }

    #[test]
    #[cfg_attr(miri, ignore = "frames pass through a socket of a kind that Miri does not have")]
    fn every_kept_frame_has_the_properties() {
        replay("frame", super::frame);
    }

    #[test]
    fn every_kept_run_of_commands_has_the_properties() {
        replay("command", super::command);
    }
}

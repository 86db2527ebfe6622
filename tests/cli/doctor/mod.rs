//! `kmonitor doctor`: each check on the real thing, in order and out of order.

mod device;
mod machine;
mod output;
mod report;

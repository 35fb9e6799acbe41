//! Tables: bytes → typed columns → matrices. Reads from `std::io::Read`, knows no files, HTTP or threads.

pub mod encoder;
pub mod profile;
pub mod source;
pub mod split;
pub mod table;
pub mod table_error;

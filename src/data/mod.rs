//! Tables: bytes → typed columns → matrices. Reads from `std::io::Read`, knows no files, HTTP or threads.

mod cell;
mod column_tally;
pub mod csv_reader;
pub mod csv_writer;
pub mod encoder;
mod encoding;
mod json_lines;
pub mod profile;
mod rows;
pub mod source;
pub mod split;
pub mod table;
pub mod table_error;
mod tally;
mod text;

#[cfg(test)]
mod tests;

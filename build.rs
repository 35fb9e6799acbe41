//! Builds again when a migration changes: `sqlx::migrate!` reads the folder at compile time, unseen by cargo.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}

use std::process::ExitCode;

fn main() -> ExitCode {
    trainyard::cli::run()
}

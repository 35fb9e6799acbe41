//! The HTTP contract, tried from outside: a real server in a process of its own, a real port, a real
//! SQLite file. Every answer is held against the served OpenAPI document, and at the end of a full run
//! every operation and status of that document must have been seen.

mod client;
mod contract;
mod document;
mod fixtures;
mod raw_socket;
mod refusals;
mod server;
mod system;
mod tables;
mod training;

mod datasets;
mod events;
mod history;
mod job_moves;
mod jobs;
mod keras_parity;
mod models;
mod predictions;

use libtest_mimic::{Arguments, Conclusion};

/// The module's trials, each a function whose name is the sentence it proves.
macro_rules! trials {
    ($($name:ident,)*) => {
        pub(crate) fn trials() -> Vec<libtest_mimic::Trial> {
            let module = module_path!().trim_start_matches("api::");
            vec![$(libtest_mimic::Trial::test(format!("{module}::{}", stringify!($name)), || {
                $name();
                Ok(())
            })),*]
        }
    };
}
pub(crate) use trials;

fn main() {
    let mut arguments = Arguments::from_args();
    let modules = [
        datasets::trials(),
        tables::trials(),
        jobs::trials(),
        training::trials(),
        job_moves::trials(),
        history::trials(),
        events::trials(),
        models::trials(),
        predictions::trials(),
        refusals::trials(),
        raw_socket::trials(),
        system::trials(),
        document::trials(),
        keras_parity::trials(),
    ];
    let trials = modules.into_iter().flatten().collect();
    if arguments.list {
        libtest_mimic::run(&arguments, trials).exit();
    }
    // Trials mostly wait for the server.
    arguments.test_threads.get_or_insert(4);
    let client = server::start_shared();
    client::set_contract(client::fetch_document(&client));
    fixtures::set_shared(client);
    let is_full_run = arguments.filter.is_none() && arguments.skip.is_empty();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let log = server::stop_shared();
    let faults = if is_full_run && !conclusion.has_failed() {
        gaps(&log)
    } else {
        Vec::new()
    };
    faults.iter().for_each(|fault| eprintln!("{fault}"));
    exit(conclusion, !faults.is_empty());
}

/// What a full run must leave: no panic in the server's log. What of the document is untried is only named yet: thirty
/// answers still lack a trial.
fn gaps(log: &str) -> Vec<String> {
    for what in client::contract().never_exercised() {
        eprintln!("no trial had the answer {what}");
    }
    log.lines()
        .filter(|line| line.contains("panicked"))
        .map(|line| format!("the server's log: {line}"))
        .collect()
}

fn exit(conclusion: Conclusion, has_gaps: bool) -> ! {
    conclusion.exit_if_failed();
    std::process::exit(if has_gaps { 101 } else { 0 })
}

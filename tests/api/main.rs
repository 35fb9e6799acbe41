//! The HTTP contract, tried from outside: a real server in a process of its own, a real port, a real
//! SQLite file. Every answer is held against the served OpenAPI document, and at the end of a full run
//! every operation and status of that document must have been seen.

mod access;
mod attributions;
mod client;
mod connections;
mod contract;
mod datasets;
mod document;
mod events;
mod fixtures;
mod history;
mod idempotency;
mod job_moves;
mod jobs;
mod keep_alive;
mod keras_parity;
mod keys;
mod limits;
mod models;
mod operations;
mod origin;
mod predictions;
mod quotas;
mod raw_socket;
mod refusals;
mod server;
mod session_tensors;
mod sessions;
mod system;
mod tables;
mod training;
mod yard;

use libtest_mimic::{Arguments, Conclusion};

use server::Server;

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
        idempotency::trials(),
        predictions::trials(),
        attributions::trials(),
        sessions::trials(),
        session_tensors::trials(),
        refusals::trials(),
        raw_socket::trials(),
        keep_alive::trials(),
        system::trials(),
        keys::trials(),
        limits::trials(),
        connections::trials(),
        quotas::trials(),
        access::trials(),
        origin::trials(),
        operations::trials(),
        document::trials(),
        keras_parity::trials(),
    ];
    let trials = modules.into_iter().flatten().collect();
    if arguments.list {
        libtest_mimic::run(&arguments, trials).exit();
    }
    // Trials mostly wait for the server.
    arguments.test_threads.get_or_insert(4);
    let server = Server::start(&[]);
    client::set_contract(client::fetch_document(&server.client()));
    fixtures::set_shared(server.client());
    let is_full_run = arguments.filter.is_none() && arguments.skip.is_empty();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let faults = if is_full_run { gaps(&server.log()) } else { Vec::new() };
    // The process ends below without dropping anything.
    drop(server);
    fixtures::end_servers();
    faults.iter().for_each(|fault| eprintln!("{fault}"));
    exit(conclusion, !faults.is_empty());
}

/// What a full run must leave: nothing of the document untried, no panic in the server's log.
fn gaps(log: &str) -> Vec<String> {
    let untried = client::contract().never_exercised();
    let mut faults: Vec<String> = untried
        .iter()
        .map(|what| format!("no trial had the answer {what}"))
        .collect();
    faults.extend(
        log.lines()
            .filter(|line| line.contains("panicked"))
            .map(|line| format!("the server's log: {line}")),
    );
    faults
}

fn exit(conclusion: Conclusion, has_gaps: bool) -> ! {
    conclusion.exit_if_failed();
    std::process::exit(if has_gaps { 101 } else { 0 })
}

//! A system that has no more threads to give, for a while.
#![cfg(target_os = "linux")]

use serde_json::{Value, json};

use crate::client::Client;
use crate::preload::Preload;
use crate::server::Server;

const NO_THREADS: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
    if (access(getenv("BROKEN"), F_OK) == 0) return EAGAIN;
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    return create(thread, attributes, start, argument);
}
"#;

#[test]
fn a_job_for_which_there_is_no_thread_waits_for_one() {
    let preload = Preload::compile(NO_THREADS);
    let server = Server::start_in(preload.environment(), &["--workers", "1"], None);
    let client = Client::new(server.address());
    let create = |target: &str, kind: &str, body: Vec<u8>, key: &str| {
        let thing: Value = client.create(target, kind, body, key).expect("it is up");
        thing["id"].as_str().expect("an id").to_owned()
    };
    let dataset = create("/v1/datasets", "text/csv", b"x,y\n1,2\n2,3\n3,5\n".to_vec(), "table");
    let submit = |epochs: u32, key: &str| {
        let job = json!({"dataset": dataset, "target": "y", "training": {"epochs": epochs}});
        create("/v1/jobs", "application/json", job.to_string().into_bytes(), key)
    };
    let long = submit(1_000_000, "long");
    let job = submit(2, "next");
    preload.set_broken(true);
    // The database may want a thread for it too.
    let cancel = format!("/v1/jobs/{long}/cancel");
    while client
        .try_post(&cancel, "application/json", Vec::new())
        .expect("it is up")
        != 200
    {}
    while !server.log().contains("no thread could be started") {}
    preload.set_broken(false);
    let done = client.wait(&job);
    assert_eq!((&done["status"], &done["attempt"]), (&json!("succeeded"), &json!(1)));
}

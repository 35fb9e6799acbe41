//! Which server a request means, and whose page sent it.
//!
//! A page of any site can make its visitor's browser send requests to a server that only the visitor can reach. Two things
//! give them away. A page whose own name was rebound to this server's address sends that name as `host`, which is none of
//! this server's. Any other page sends from where it is, in `sec-fetch-site` or `origin`.

use std::net::IpAddr;

use axum::extract::Request;
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Method};

use super::error::ApiError;
use crate::domain::problem::Kind;
use crate::nn::spec::reader::shorten;

/// What a server may be called.
#[derive(Clone, Debug)]
pub struct AllowedHosts {
    bind: IpAddr,
    names: Vec<String>,
}

impl AllowedHosts {
    /// Loopback names, the address `bind`, and the `names` as [`Self::read_name`] gives them.
    pub fn new(bind: IpAddr, names: Vec<String>) -> Self {
        Self { bind, names }
    }

    /// A name or an address, without scheme and port.
    pub fn read_name(text: &str) -> Result<String, String> {
        let authority = authority(text).filter(|authority| authority.port().is_none() && !text.ends_with(':'));
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
        let host = authority.map(|authority| name_of(&authority));
        let host = host.filter(|host| host.bytes().all(fits));
        host.ok_or_else(|| "it takes a name or an address without scheme and port, such as yard.example.org".to_owned())
    }

    /// The port doesn't count: a forwarded one differs.
    fn allow(&self, authority: &Authority) -> bool {
        let name = name_of(authority);
        if name == "localhost" || self.names.contains(&name) {
            return true;
        }
        // An address in the host header was not rebound: the browser's user has typed it. So where the server listens on all its
        // addresses, whose list it doesn't know, it is any of them.
        let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
        address.is_ok_and(|address| {
            let address = address.to_canonical();
            address.is_loopback() || address == self.bind.to_canonical() || self.bind.is_unspecified()
        })
    }
}

fn authority(text: &str) -> Option<Authority> {
    let authority = text.parse::<Authority>().ok()?;
    (!text.contains('@') && !authority.host().is_empty()).then_some(authority)
}

/// The host in lower case, without the dot that may end a full name.
fn name_of(authority: &Authority) -> String {
    let host = authority.host().to_ascii_lowercase();
    host.strip_suffix('.').unwrap_or(&host).to_owned()
}

/// Refuses what was meant for another server, or sent by a page of another site.
pub(super) fn check(request: &Request, hosts: &AllowedHosts) -> Result<(), ApiError> {
    check_host(request, hosts)?;
    check_site(request.method(), request.headers())
}

fn check_host(request: &Request, hosts: &AllowedHosts) -> Result<(), ApiError> {
    let named = request.headers().get_all(HOST).iter();
    let named = named.map(|host| host.to_str().unwrap_or_default());
    // A request for a proxy names the host in its target too.
    let targeted = request.uri().authority().map(Authority::as_str);
    for host in named.chain(targeted) {
        if !authority(host).is_some_and(|authority| hosts.allow(&authority)) {
            let detail = format!(
                "This server is not called {:?}. Call it by its address, or start it with --allow-host and the name it is to have.",
                shorten(host)
            );
            return Err(ApiError::new(Kind::Misdirected, detail));
        }
    }
    Ok(())
}

/// Browsers say from which site a request comes; what says nothing is not a browser, or one that is too old for pages of
/// other sites to be told apart except by `origin`.
fn check_site(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    // One that is there twice says nothing that can be believed.
    let header = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next()?.to_str().unwrap_or_default();
        Some(if values.next().is_none() { value } else { "" })
    };
    let own = match (header("sec-fetch-site"), header(ORIGIN.as_str())) {
        (Some("same-origin" | "none"), _) | (None, None) => true,
        // Following a link to a page is no harm; embedding it is.
        (Some(_), _) => {
            let embeds = matches!(header("sec-fetch-dest"), Some("object" | "embed" | "iframe" | "frame"));
            matches!(*method, Method::GET | Method::HEAD) && header("sec-fetch-mode") == Some("navigate") && !embeds
        }
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some_and(|host| header(HOST.as_str()).is_some_and(|own| own.eq_ignore_ascii_case(host)))
        }
    };
    match own {
        true => Ok(()),
        false => Err(ApiError::new(
            Kind::Forbidden,
            "A page of another site sent this; browsers may call this server from its own pages only.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn allows(bind: &str, names: &[&str], host: &str) -> bool {
        let names = names.iter().map(|name| AllowedHosts::read_name(name).unwrap());
        let hosts = AllowedHosts::new(bind.parse().unwrap(), names.collect());
        authority(host).is_some_and(|authority| hosts.allow(&authority))
    }

    #[test]
    fn a_server_is_called_by_its_address_or_a_name_it_was_given() {
        for host in [
            "localhost",
            "LocalHost:8080",
            "localhost.",
            "127.0.0.1:1",
            "127.8.8.8",
            "[::1]:80",
        ] {
            assert!(allows("127.0.0.1", &[], host), "{host}");
        }
        assert!(allows("10.0.0.7", &[], "10.0.0.7:8080"));
        assert!(allows("0.0.0.0", &[], "10.0.0.7"));
        assert!(allows("::", &[], "[fe80::1]"));
        assert!(allows(
            "127.0.0.1",
            &["Yard.Example.org", "10.1.1.1"],
            "yard.example.org:443"
        ));
        assert!(allows("127.0.0.1", &["Yard.Example.org", "10.1.1.1"], "10.1.1.1"));
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.7",
            "a@localhost",
            "local host",
            "[::1",
            "::1",
            "http://localhost",
            "localhost:8080:8080",
        ] {
            assert!(!allows("127.0.0.1", &["yard.example.org"], host), "{host}");
        }
        assert!(!allows("0.0.0.0", &[], "evil.example"));
        assert!(!allows("10.0.0.7", &[], "10.0.0.8"));
    }

    #[test]
    fn a_name_that_is_to_be_allowed_has_no_scheme_and_no_port() {
        for wrong in [
            "",
            "http://yard.example.org",
            "yard.example.org:443",
            "yard:",
            "a b",
            "yard/",
            "me@yard",
            "*",
        ] {
            assert!(AllowedHosts::read_name(wrong).is_err(), "{wrong}");
        }
    }

    fn is_own(method: Method, headers: &[(&'static str, &'static str)]) -> bool {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut headers: HeaderMap = headers.iter().map(pair).collect();
        headers.append(HOST, HeaderValue::from_static("localhost:8080"));
        check_site(&method, &headers).is_ok()
    }

    #[test]
    fn only_pages_of_the_servers_own_may_call_it() {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let is_own = |headers: &[_]| is_own(method.clone(), headers);
            assert!(is_own(&[]));
            assert!(is_own(&[
                ("sec-fetch-site", "same-origin"),
                ("origin", "http://localhost:8080")
            ]));
            assert!(is_own(&[("sec-fetch-site", "none")]));
            assert!(is_own(&[("origin", "http://LOCALHOST:8080")]));
            for (name, own, foreign) in [
                ("sec-fetch-site", "same-origin", "cross-site"),
                ("origin", "http://localhost:8080", "http://evil.example"),
            ] {
                assert!(!is_own(&[(name, own), (name, foreign)]), "{name} twice");
            }
            for site in ["cross-site", "same-site", "", "surprise"] {
                assert!(!is_own(&[("sec-fetch-site", site)]), "{site}");
                assert!(
                    !is_own(&[("sec-fetch-site", site), ("sec-fetch-mode", "cors")]),
                    "{site}"
                );
            }
            for origin in [
                "null",
                "",
                "http://evil.example",
                "http://localhost:3000",
                "http://localhost",
                "localhost:8080",
            ] {
                assert!(!is_own(&[("origin", origin)]), "{origin}");
            }
        }
    }

    #[test]
    fn a_link_from_another_site_can_be_followed_and_no_more() {
        let from = |dest| {
            [
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", dest),
            ]
        };
        assert!(is_own(Method::GET, &from("document")));
        assert!(!is_own(Method::POST, &from("document")));
        assert!(!is_own(Method::GET, &from("iframe")));
    }
}

//! The layer: handlers see admitted calls alone, a panic ends one call, and strangers
//! cannot fill the journal.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use channel::RemoteAddress;
use records::AuditOutcome;
use tower::{ServiceExt, service_fn};

use super::super::Admitted;
use super::*;
use crate::rig::Rig;

const GET_BUNDLE: &str = "/spire.api.server.bundle.v1.Bundle/GetBundle";
const LIST: &str = "/spire.api.server.entry.v1.Entry/ListEntries";

fn guard<S>(rig: &Rig, inner: S) -> Guard<S> {
    let server = &rig.server;
    let gate = Gate::new(
        server.state.clone(),
        server.attestation.clone(),
        server.authorities.clone(),
        server.clock.clone(),
        1000,
    );
    Guard::new(
        gate,
        Arc::clone(&server.accounts),
        server.audit.clone(),
        inner,
    )
}

fn call(path: &str) -> Request<Body> {
    let request = Request::post(path).version(http::Version::HTTP_2);
    let request = request.header("content-type", "application/grpc");
    let mut request = request.body(Body::empty()).unwrap();
    request
        .extensions_mut()
        .insert(RemoteAddress(([192, 0, 2, 1], 4000).into()));
    request
}

fn code(response: &Response<Body>) -> Code {
    Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code())
}

#[tokio::test]
async fn a_handler_sees_admitted_calls_alone() {
    let rig = Rig::memory().await;
    let handled = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&handled);
    let guard = guard(
        &rig,
        service_fn(move |request: Request<CountedBody<Body>>| {
            assert!(request.extensions().get::<Admitted>().is_some());
            counter.fetch_add(1, Ordering::SeqCst);
            async { Ok::<_, Infallible>(Response::new(Body::empty())) }
        }),
    );
    for (path, expected) in [
        (GET_BUNDLE, Code::Ok),
        (LIST, Code::PermissionDenied),
        ("/no.such.Service/Method", Code::Unimplemented),
        ("/", Code::Unimplemented),
    ] {
        let response = guard.clone().oneshot(call(path)).await.unwrap();
        assert_eq!(code(&response), expected, "{path}");
    }
    assert_eq!(handled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_panic_ends_its_own_call_alone() {
    let rig = Rig::memory().await;
    let guard = guard(
        &rig,
        service_fn(|_: Request<CountedBody<Body>>| async {
            if true {
                panic!("planted");
            }
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }),
    );
    let response = guard.clone().oneshot(call(GET_BUNDLE)).await.unwrap();
    assert_eq!(code(&response), Code::Internal);
    let response = guard.oneshot(call(LIST)).await.unwrap();
    assert_eq!(code(&response), Code::PermissionDenied);
}

#[tokio::test]
async fn strangers_cannot_fill_the_journal() {
    let rig = Rig::memory().await;
    let inner = service_fn(|_: Request<CountedBody<Body>>| async {
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    let guard = guard(&rig, inner);
    let most = usize::try_from(limits::MAX_STRANGER_RECORDS).unwrap();
    for _ in 0..most + 50 {
        let response = guard.clone().oneshot(call(LIST)).await.unwrap();
        assert_eq!(code(&response), Code::PermissionDenied);
    }
    assert_eq!(rig.count(AuditKind::Refusal, AuditOutcome::Refused), most);
}

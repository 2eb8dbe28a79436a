//! Calls of KMS: signed, bounded in time, tried again when that may help.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

use crate::credentials::Keeper;
use crate::exchange::Connections;
use crate::fault::Fault;
use crate::sigv4;
use crate::{limits, utc};

/// Never tried again: what was not answered may have been done, and keys cost money.
const MAKES: &str = "CreateKey";

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// KMS of one region, as one account sees it.
pub(crate) struct Kms {
    parts: Arc<Parts>,
    /// Taken when dropped: a runtime must not be waited for where waiting is forbidden.
    runtime: Option<Runtime>,
}

pub(crate) struct Parts {
    pub(crate) connections: Connections,
    pub(crate) credentials: Keeper,
    pub(crate) region: String,
    pub(crate) now: Box<dyn Fn() -> i64 + Send + Sync>,
}

impl Kms {
    pub(crate) fn new(parts: Parts) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("aws-kms")
            .enable_io()
            .enable_time()
            .build();
        Ok(Self {
            parts: Arc::new(parts),
            runtime: Some(runtime.map_err(|error| error.to_string())?),
        })
    }

    /// Calls an operation and waits for its answer, for no longer than the budget.
    pub(crate) fn call(
        &self,
        operation: &'static str,
        body: &Value,
        budget: Duration,
    ) -> Result<Value, Fault> {
        let gone = || Fault::Away("its client has stopped".into());
        let runtime = self.runtime.as_ref().ok_or_else(gone)?;
        let (parts, body) = (Arc::clone(&self.parts), Bytes::from(body.to_string()));
        let (answered, answer) = sync_channel(1);
        runtime.spawn(async move {
            let done = timeout(budget, parts.call(operation, body)).await;
            let slow = |_elapsed| {
                let millis = budget.as_millis();
                Fault::Away(format!("{operation} was not answered within {millis} ms"))
            };
            // Whoever asked may have gone.
            let _gone = answered.send(done.unwrap_or_else(|elapsed| Err(slow(elapsed))));
        });
        answer.recv().unwrap_or_else(|_closed| Err(gone()))
    }
}

impl Drop for Kms {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Parts {
    async fn call(&self, operation: &'static str, body: Bytes) -> Result<Value, Fault> {
        let mut pause = limits::BACK_OFF;
        let mut tried = 1;
        loop {
            let attempt = timeout(limits::ATTEMPT, self.attempt(operation, body.clone()));
            let fault = match attempt.await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(fault)) => fault,
                Err(_elapsed) => Fault::Away(format!("{operation} was not answered in time")),
            };
            match &fault {
                Fault::Denied { .. } => return Err(fault),
                Fault::Credentials(_) if tried > 1 => return Err(fault),
                Fault::Credentials(_) => self.credentials.forget(),
                Fault::Away(_) => {}
            }
            if tried >= limits::ATTEMPTS || operation == MAKES {
                return Err(fault);
            }
            tracing::debug!(operation, tried, ?fault, "KMS is asked again");
            sleep(pause).await;
            pause *= 2;
            tried += 1;
        }
    }

    async fn attempt(&self, operation: &str, body: Bytes) -> Result<Value, Fault> {
        let now = (self.now)();
        let credentials = self.credentials.get(now).await?;
        let wrong_clock = || Fault::Credentials("the clock is out of range".into());
        let time = utc::basic(now).ok_or_else(wrong_clock)?;
        let host = self.connections.endpoint.authority();
        let target = format!("TrentService.{operation}");
        let mut headers = vec![
            ("content-type", CONTENT_TYPE),
            ("host", host.as_str()),
            ("x-amz-date", time.as_str()),
        ];
        if let Some(token) = &credentials.token {
            headers.push(("x-amz-security-token", token.expose()));
        }
        headers.push(("x-amz-target", target.as_str()));
        let to_sign = sigv4::Request {
            method: "POST",
            headers: &headers,
            query: "",
            body: &body,
            region: &self.region,
            service: "kms",
        };
        let authorization =
            sigv4::authorization(&to_sign, &credentials, now).ok_or_else(wrong_clock)?;
        let mut request = Request::post("/").header("authorization", authorization);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        // The library's words could repeat a header.
        let unfit = |_error| Fault::Credentials("they hold characters of no header".into());
        let request = request.body(Full::new(body.clone())).map_err(unfit)?;
        let (status, answer) = self
            .connections
            .exchange(request)
            .await
            .map_err(Fault::Away)?;
        read(status.as_u16(), &answer)
    }
}

fn read(status: u16, answer: &[u8]) -> Result<Value, Fault> {
    let empty = answer.is_empty();
    let parsed = serde_json::from_slice::<Value>(answer);
    if status == 200 {
        return match parsed {
            Ok(value) => Ok(value),
            Err(_) if empty => Ok(Value::Null),
            Err(_) => Err(Fault::Away("its answer cannot be read".into())),
        };
    }
    let error = parsed.unwrap_or_default();
    let field = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    // Some services write a namespace before the name.
    let exception = field("__type").rsplit('#').next().unwrap_or_default();
    let message = [field("message"), field("Message")].concat();
    Err(Fault::of_answer(status, exception, &message))
}

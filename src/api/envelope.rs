//! The contract's envelope: `{code, data, message, requestId}`, and `error` for refusals.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::error::ApiError;

/// The header that carries a request's id in and out.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The data of a success, as JSON text: what users stored goes out as it is.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    data: Arc<RawValue>,
    status: StatusCode,
    headers: HeaderMap,
}

impl Reply {
    /// A success with this data.
    ///
    /// # Errors
    /// A stored text is no JSON: the ledger is damaged.
    pub(super) fn new(data: &impl Serialize) -> Result<Self, ApiError> {
        let text = to_raw_value(data).map_err(|error| ApiError::internal(Arc::new(error)))?;
        Ok(Self {
            data: text.into(),
            status: StatusCode::OK,
            headers: HeaderMap::new(),
        })
    }

    /// The same as 202: more is to come, and `location` says where to look for it.
    pub(super) fn accepted(mut self, location: &str) -> Self {
        self.status = StatusCode::ACCEPTED;
        if let Ok(location) = HeaderValue::from_str(location) {
            self.headers.insert(header::LOCATION, location);
        }
        self
    }

    /// The same with a header.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        Outcome::Success(self).into_response()
    }
}

/// What a handler hands to the edge, which writes the body.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// It worked.
    Success(Reply),
    /// It did not.
    Refusal(ApiError),
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        let mut response = ().into_response();
        match &self {
            Self::Success(reply) => {
                *response.status_mut() = reply.status;
                response.headers_mut().extend(reply.headers.clone());
            }
            Self::Refusal(error) => {
                *response.status_mut() = error.reason().status();
                error.add_headers(response.headers_mut());
            }
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Success<'a> {
    code: u16,
    data: &'a RawValue,
    message: &'static str,
    request_id: &'a str,
}

/// Completes a response: the envelope if a handler left an outcome, the request's id always.
pub(super) fn complete(mut response: Response, request_id: &str) -> Response {
    if let Some(outcome) = response.extensions_mut().remove::<Outcome>() {
        let text = match &outcome {
            Outcome::Success(reply) => serde_json::to_string(&Success {
                code: reply.status.as_u16(),
                data: &reply.data,
                message: "success",
                request_id,
            }),
            Outcome::Refusal(error) => serde_json::to_string(&error.envelope(request_id)),
        };
        // Texts and numbers always have a JSON form.
        *response.body_mut() = Body::from(text.unwrap_or_default());
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        // The marker of an empty body must not outlive it.
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::body_text;
    use serde_json::json;

    #[tokio::test]
    async fn a_success_is_the_contracts_envelope_in_its_order() {
        let data = json!({"z": 1, "a": null});
        let response = complete(Reply::new(&data).unwrap().into_response(), "req-1");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[&REQUEST_ID], "req-1");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        assert_eq!(
            body_text(response).await,
            r#"{"code":200,"data":{"z":1,"a":null},"message":"success","requestId":"req-1"}"#
        );
    }

    #[tokio::test]
    async fn other_bodies_stay_as_they_are() {
        let response = complete("plain".into_response(), "req-2");
        assert_eq!(response.headers()[&REQUEST_ID], "req-2");
        assert_eq!(body_text(response).await, "plain");
    }
}

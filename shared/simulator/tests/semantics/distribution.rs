//! The OCI distribution API over HTTP, without a client that hides what it does.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request,
    body::Bytes,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};

use crate::sites::{APP, COPIED, IRELAND, Sites, TOKYO, VIRGINIA, artifact, digest, index, replicate, rule, set, tags};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(crate) fn blob_digest(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// A manifest whose configuration is `{}`, and whose layers have these bytes.
pub(crate) fn layered(layers: &[&[u8]], subject: Option<&str>) -> String {
    let part = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": blob_digest(bytes), "size": bytes.len()});
    let layers: Vec<_> =
        layers.iter().map(|bytes| part("application/vnd.oci.image.layer.v1.tar+gzip", bytes)).collect();
    let config = part("application/vnd.oci.image.config.v1+json", b"{}");
    let mut manifest = json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers});
    if let Some(subject) = subject {
        manifest["subject"] = json!({"mediaType": IMAGE, "digest": digest(subject), "size": subject.len()});
    }
    manifest.to_string()
}

type Answer = (u16, HeaderMap, Vec<u8>);

async fn send(request: Request<Full<Bytes>>) -> Answer {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let (head, body) = client.request(request).await.unwrap().into_parts();
    (head.status.as_u16(), head.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

pub(crate) async fn fetch(url: &str) -> Answer {
    send(Request::get(url).body(Full::default()).unwrap()).await
}

/// A client that is logged in to one registry.
struct Web {
    endpoint: String,
    token: String,
    host: Option<String>,
}

impl Web {
    async fn of(sites: &Sites, registry: &str) -> Self {
        let answer = sites.ecr(registry).await.get_authorization_token().send().await.unwrap();
        let data = &answer.authorization_data()[0];
        let (account, region) = registry.split_once('/').unwrap();
        assert_eq!(data.proxy_endpoint().unwrap(), format!("https://{account}.dkr.ecr.{region}.amazonaws.com"));
        let token = data.authorization_token().unwrap().to_owned();
        assert!(BASE64_STANDARD.decode(&token).unwrap().starts_with(b"AWS:"));
        Self { endpoint: sites.endpoint.clone(), token, host: None }
    }

    async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.endpoint));
        request = request.header(AUTHORIZATION, format!("Basic {}", self.token));
        if let Some(host) = &self.host {
            request = request.header(HOST, host);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(request.body(Full::from(body.to_vec())).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], b"").await
    }

    async fn upload(&self, bytes: &[u8]) -> Answer {
        let path = format!("/v2/{APP}/blobs/uploads/?digest={}", blob_digest(bytes));
        self.call(Method::POST, &path, &[], bytes).await
    }

    async fn put(&self, reference: &str, manifest: &str, kind: &str) -> Answer {
        let path = format!("/v2/{APP}/manifests/{reference}");
        self.call(Method::PUT, &path, &[(CONTENT_TYPE.as_str(), kind)], manifest.as_bytes()).await
    }
}

fn code(answer: &Answer) -> (u16, String) {
    let body: Value = serde_json::from_slice(&answer.2).unwrap();
    (answer.0, body["errors"][0]["code"].as_str().unwrap().to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.1.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn an_image_is_pushed_replicated_pulled_and_deleted() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    replicate(&ecr, [rule(&[VIRGINIA], None)]).await;
    let (mut after, web) = (0, Web::of(&sites, IRELAND).await);
    sites.events(&mut after);
    let (amd, arm) = (layered(&[b"amd64"], None), layered(&[b"arm64"], None));
    let both = index(&[&amd, &arm]);
    assert_eq!(code(&web.put("amd64", &amd, IMAGE).await), refused(404, "MANIFEST_BLOB_UNKNOWN"));
    for blob in [&b"{}"[..], b"amd64", b"arm64"] {
        let answer = web.upload(blob).await;
        assert_eq!((answer.0, header(&answer, "docker-content-digest")), (201, blob_digest(blob).as_str()));
    }
    assert_eq!(code(&web.put("v1", &both, INDEX).await), refused(404, "MANIFEST_BLOB_UNKNOWN"));
    for manifest in [&amd, &arm] {
        assert_eq!(web.put(&digest(manifest), manifest, IMAGE).await.0, 201);
    }
    let pushed = web.put("v1", &both, INDEX).await;
    assert_eq!((pushed.0, header(&pushed, "docker-content-digest")), (201, digest(&both).as_str()));
    // A repeated push changes nothing.
    assert_eq!(web.put("v1", &both, INDEX).await.0, 201);
    let pushes = ["eu-west-1 PUSH ", "eu-west-1 PUSH ", "eu-west-1 PUSH v1"];
    assert_eq!(sites.description(&mut after), pushes);
    sites.pass(COPIED);
    sites.events(&mut after);
    let there = Web::of(&sites, VIRGINIA).await;
    let pulled = there.get(&format!("/v2/{APP}/manifests/{}", digest(&both))).await;
    assert_eq!((pulled.0, header(&pulled, "content-type"), pulled.2.as_slice()), (200, INDEX, both.as_bytes()));
    let blob = there.get(&format!("/v2/{APP}/blobs/{}", blob_digest(b"arm64"))).await;
    assert_eq!((blob.0, blob.2.as_slice()), (200, &b"arm64"[..]));
    let head = there.call(Method::HEAD, &format!("/v2/{APP}/manifests/v1"), &[], b"").await;
    assert_eq!((head.0, header(&head, "content-length")), (200, both.len().to_string().as_str()));
    // A child cannot be deleted before its index.
    let child = web.call(Method::DELETE, &format!("/v2/{APP}/manifests/{}", digest(&amd)), &[], b"").await;
    assert_eq!(code(&child), refused(400, "DENIED"));
    for reference in ["v1".to_owned(), digest(&amd)] {
        let path = format!("/v2/{APP}/manifests/{reference}");
        assert_eq!(web.call(Method::DELETE, &path, &[], b"").await.0, 202);
        assert_eq!(code(&web.get(&path).await), refused(404, "MANIFEST_UNKNOWN"));
    }
    assert_eq!(sites.description(&mut after), ["eu-west-1 DELETE v1", "eu-west-1 DELETE "]);
    assert_eq!(tags(&sites.ecr(VIRGINIA).await, &both).await, set(&["v1"]));
}

#[tokio::test]
async fn a_blob_is_uploaded_in_chunks_read_in_ranges_and_mounted() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    ecr.create_repository().repository_name("other").send().await.unwrap();
    let web = Web::of(&sites, IRELAND).await;
    let begun = web.call(Method::POST, &format!("/v2/{APP}/blobs/uploads/"), &[], b"").await;
    let at = header(&begun, "location").to_owned();
    assert_eq!(begun.0, 202);
    let chunk = |range: &'static str, bytes: &'static [u8]| {
        let (web, at) = (&web, &at);
        async move { web.call(Method::PATCH, at, &[("content-range", range)], bytes).await }
    };
    let first = chunk("0-3", b"some").await;
    assert_eq!((first.0, header(&first, "range")), (202, "0-3"));
    let gap = chunk("6-9", b"more").await;
    assert_eq!((gap.0, header(&gap, "range"), header(&gap, "location")), (416, "0-3", at.as_str()));
    assert_eq!(chunk("4-4", b" ").await.0, 202);
    let status = web.get(&at).await;
    assert_eq!((status.0, header(&status, "range")), (204, "0-4"));
    let layer = blob_digest(b"some more");
    let ended = web.call(Method::PUT, &format!("{at}?digest={layer}"), &[], b"more").await;
    assert_eq!((ended.0, header(&ended, "location")), (201, format!("/v2/{APP}/blobs/{layer}").as_str()));
    assert_eq!(code(&web.get(&at).await), refused(404, "BLOB_UPLOAD_UNKNOWN"));
    let path = format!("/v2/{APP}/blobs/{layer}");
    for (range, status, bytes) in
        [("bytes=5-6", 206, &b"mo"[..]), ("bytes=-4", 206, b"more"), ("bytes=5-", 206, b"more")]
    {
        let part = web.call(Method::GET, &path, &[("range", range)], b"").await;
        assert_eq!((part.0, part.2.as_slice()), (status, bytes), "{range}");
    }
    assert_eq!(web.call(Method::GET, &path, &[("range", "bytes=9-")], b"").await.0, 416);
    let head = web.call(Method::HEAD, &path, &[], b"").await;
    assert_eq!((head.0, header(&head, "content-length")), (200, "9"));
    // A mount needs no upload, if the account setting permits it; without it or the blob, it begins one.
    let mount = format!("/v2/other/blobs/uploads/?mount={layer}&from={APP}");
    assert_eq!(web.call(Method::POST, &mount, &[], b"").await.0, 202);
    let setting = sites.ecr(IRELAND).await.put_account_setting().name("BLOB_MOUNTING").value("ENABLED");
    setting.send().await.unwrap();
    assert_eq!(web.call(Method::POST, &mount, &[], b"").await.0, 201);
    assert_eq!(web.get(&format!("/v2/other/blobs/{layer}")).await.2, b"some more");
    let none = format!("/v2/other/blobs/uploads/?mount={}&from={APP}", blob_digest(b"none"));
    let begun = web.call(Method::POST, &none, &[], b"").await;
    assert_eq!(begun.0, 202);
    assert_eq!(web.call(Method::DELETE, header(&begun, "location"), &[], b"").await.0, 204);
    // What does not match its digest is nowhere.
    let wrong =
        web.call(Method::POST, &format!("/v2/{APP}/blobs/uploads/?digest={}", blob_digest(b"a")), &[], b"b").await;
    assert_eq!(code(&wrong), refused(400, "DIGEST_INVALID"));
    assert_eq!(code(&web.get(&format!("/v2/{APP}/blobs/{}", blob_digest(b"b"))).await), refused(404, "BLOB_UNKNOWN"));
}

#[tokio::test]
async fn tags_repositories_and_referrers_are_listed_in_pages() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    ecr.create_repository().repository_name("other").send().await.unwrap();
    let web = Web::of(&sites, IRELAND).await;
    for blob in [&b"{}"[..], b"a"] {
        web.upload(blob).await;
    }
    let image = layered(&[b"a"], None);
    for tag in ["c", "a", "b"] {
        web.put(tag, &image, IMAGE).await;
    }
    let json = |answer: &Answer| serde_json::from_slice::<Value>(&answer.2).unwrap();
    let first = web.get(&format!("/v2/{APP}/tags/list?n=2")).await;
    assert_eq!(json(&first), json!({"name": APP, "tags": ["a", "b"]}));
    let next = header(&first, "link").trim_start_matches('<').split('>').next().unwrap().to_owned();
    let second = web.get(&next).await;
    assert_eq!((json(&second)["tags"].clone(), header(&second, "link")), (json!(["c"]), ""));
    assert_eq!(json(&web.get(&format!("/v2/{APP}/tags/list?n=0")).await)["tags"], json!([]));
    let names = web.get("/v2/_catalog?n=1").await;
    assert_eq!(
        (json(&names), header(&names, "link")),
        (json!({"repositories": ["other"]}), "</v2/_catalog?last=other&n=1>; rel=\"next\"")
    );
    // Its configuration is the empty one.
    for kind in ["text/sbom+json", "text/signature"] {
        let artifact = artifact(&image, kind).replace(&blob_digest(b"content of {}"), &blob_digest(b"{}"));
        let put = web.put(&digest(&artifact), &artifact, IMAGE).await;
        assert_eq!((put.0, header(&put, "oci-subject")), (201, digest(&image).as_str()));
    }
    let all = web.get(&format!("/v2/{APP}/referrers/{}", digest(&image))).await;
    assert_eq!(
        (all.0, json(&all)["manifests"].as_array().unwrap().len(), header(&all, "content-type")),
        (200, 2, INDEX)
    );
    let one = web.get(&format!("/v2/{APP}/referrers/{}?artifactType=text/sbom%2Bjson", digest(&image))).await;
    assert_eq!(header(&one, "oci-filters-applied"), "artifactType");
    assert_eq!(json(&one)["manifests"][0]["artifactType"], "text/sbom+json");
    assert_eq!(json(&one)["manifests"].as_array().unwrap().len(), 1);
    let nothing = web.get(&format!("/v2/{APP}/referrers/{}", blob_digest(b"unknown"))).await;
    assert_eq!((nothing.0, json(&nothing)["manifests"].clone()), (200, json!([])));
}

#[tokio::test]
async fn a_refusal_is_an_error_of_the_distribution_spec() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    let mut web = Web::of(&sites, IRELAND).await;
    let anonymous = fetch(&format!("{}/v2/", sites.endpoint)).await;
    assert_eq!(code(&anonymous), refused(401, "UNAUTHORIZED"));
    assert!(header(&anonymous, "www-authenticate").starts_with("Basic realm="));
    let ping = web.get("/v2/").await;
    assert_eq!((ping.0, header(&ping, "docker-distribution-api-version")), (200, "registry/2.0"));
    for (path, status, expected) in [
        ("/v2/missing/tags/list", 404, "NAME_UNKNOWN"),
        ("/v2/Upper/tags/list", 400, "NAME_INVALID"),
        ("/v2/team/app/manifests/v1", 404, "MANIFEST_UNKNOWN"),
        ("/v2/team/app/blobs/sha512:ab", 400, "DIGEST_INVALID"),
        ("/v2/team/app/tags/list?n=x", 400, "PAGINATION_NUMBER_INVALID"),
        ("/v2/team/app", 404, "UNSUPPORTED"),
        ("/v2/team/app/blobs/uploads/", 405, "UNSUPPORTED"),
    ] {
        assert_eq!(code(&web.get(path).await), refused(status, expected), "{path}");
    }
    let upload = web.call(Method::POST, "/v2/missing/blobs/uploads/", &[], b"").await;
    assert_eq!(code(&upload), refused(404, "NAME_UNKNOWN"));
    web.upload(b"{}").await;
    web.put("v1", &layered(&[], None), IMAGE).await;
    sites.raw(IRELAND, "PutImageTagMutability", &json!({"repositoryName": APP, "imageTagMutability": "IMMUTABLE"}));
    web.upload(b"a").await;
    let moved = web.put("v1", &layered(&[b"a"], None), IMAGE).await;
    assert_eq!(code(&moved), refused(400, "TAG_INVALID"));
    assert!(String::from_utf8_lossy(&moved.2).contains("cannot be overwritten because the tag is immutable"));
    let other = web.put(&blob_digest(b"other"), &layered(&[b"a"], None), IMAGE).await;
    assert_eq!(code(&other), refused(400, "DIGEST_INVALID"));
    assert_eq!(code(&web.put("v2", "no json", IMAGE).await), refused(400, "MANIFEST_INVALID"));
    // The host's name chooses another registry, where the caller may do nothing.
    web.host = Some("444455556666.dkr.ecr.ap-northeast-1.amazonaws.com".to_owned());
    sites.ecr(TOKYO).await.create_repository().repository_name(APP).send().await.unwrap();
    assert_eq!(code(&web.get("/v2/team/app/tags/list").await), refused(403, "DENIED"));
    web.host = Some("111122223333.dkr.ecr.us-east-1.amazonaws.com".to_owned());
    assert_eq!(code(&web.get("/v2/team/app/tags/list").await), refused(404, "NAME_UNKNOWN"));
    web.host = None;
    sites.pass(Duration::from_secs(12 * 3600 + 1));
    assert_eq!(code(&web.get("/v2/team/app/tags/list").await), refused(403, "DENIED"));
    drop(ecr);
}

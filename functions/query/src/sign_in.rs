//! Signing in to the page in a browser. `infra/page.yaml` describes the identity provider in the stage variables of its
//! HTTP API: API Gateway adds them to every event, and the caller of the API has no influence on them.
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>

use aws::environment::{ConfigErrors, Environment};

/// Where people sign in to the page, and which of their groups may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// `SIGN_IN_ISSUER`: the OpenID Connect issuer, as its tokens name it.
    pub issuer: String,
    /// `SIGN_IN_CLIENT_ID`: the page's client ID at the issuer.
    pub client_id: String,
    /// `SIGN_IN_SCOPES`: the scopes that the page requests.
    pub scopes: Vec<String>,
    /// `SIGN_IN_ORIGIN`: the origin of the issuer's token endpoint. By default that of the issuer.
    pub token_origin: String,
    /// `GROUPS_CLAIM`: the claim of a token that lists a person's groups.
    pub groups_claim: String,
    /// `READER_GROUP`: the group that may read.
    pub reader_group: String,
    /// `OPERATOR_GROUP`: the group that may also pause, hold, release, approve, cancel and reset.
    pub operator_group: String,
}

/// The stage variables; the page of an API that has none of them has no sign-in.
const NAMES: [&str; 7] = [
    "SIGN_IN_ISSUER",
    "SIGN_IN_CLIENT_ID",
    "SIGN_IN_SCOPES",
    "SIGN_IN_ORIGIN",
    "GROUPS_CLAIM",
    "READER_GROUP",
    "OPERATOR_GROUP",
];

impl SignIn {
    /// Reads the stage variables. `variable` returns the value of one.
    ///
    /// # Errors
    /// Every missing or malformed variable, if any is set.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ConfigErrors> {
        if NAMES.iter().all(|name| variable(name).is_none()) {
            return Ok(None);
        }
        let mut variables = Environment::of("stage variable", variable);
        let issuer = word(&mut variables, "SIGN_IN_ISSUER", "the URL of the OpenID Connect issuer");
        let own = origin(&issuer).map(str::to_owned);
        if own.is_none() && !issuer.is_empty() {
            variables.invalid("SIGN_IN_ISSUER", format!("is `{issuer}`: expected an HTTPS URL"));
        }
        let token_origin = match variables.text("SIGN_IN_ORIGIN") {
            Some(other) if origin(&other) == Some(other.as_str()) => other,
            Some(other) => {
                variables.invalid("SIGN_IN_ORIGIN", format!("is `{other}`: expected `https://` and a host name"));
                other
            }
            None => own.unwrap_or_default(),
        };
        let scopes = words(&mut variables, "SIGN_IN_SCOPES", "the scopes to request, separated by commas");
        let sign_in = Self {
            issuer,
            client_id: word(&mut variables, "SIGN_IN_CLIENT_ID", "the page's client ID at the issuer"),
            scopes,
            token_origin,
            groups_claim: word(&mut variables, "GROUPS_CLAIM", "the claim with a person's groups"),
            reader_group: word(&mut variables, "READER_GROUP", "the group that may read"),
            operator_group: word(&mut variables, "OPERATOR_GROUP", "the group that may change"),
        };
        variables.finish(Some(sign_in))
    }

    /// The origins that the page connects to for signing in.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        let issuer = origin(&self.issuer).filter(|issuer| *issuer != self.token_origin);
        issuer.into_iter().chain([self.token_origin.as_str()])
    }

    /// The element of the page's HTML that says where to sign in: the issuer, the client ID and the scopes. None of the
    /// values has a character that HTML or a header would need to escape.
    pub fn meta(&self) -> String {
        let Self { issuer, client_id, scopes, .. } = self;
        format!("<meta name=\"sign-in\" content=\"{issuer} {client_id} {}\">\n", scopes.join(" "))
    }
}

/// A required list of values without spaces, quotes, or anything else that HTML or a header treats specially.
fn words<F: Fn(&str) -> Option<String>>(variables: &mut Environment<F>, name: &str, meaning: &str) -> Vec<String> {
    let text = variables.required(name, meaning);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte);
    if !text.bytes().all(plain) {
        variables
            .invalid(name, format!("is `{}`: only letters, digits and `-._~:/` are possible", text.escape_debug()));
    }
    text.split(',').map(str::to_owned).collect()
}

fn word<F: Fn(&str) -> Option<String>>(variables: &mut Environment<F>, name: &str, meaning: &str) -> String {
    let words = words(variables, name, meaning);
    if words.len() > 1 {
        variables.invalid(name, format!("is `{}`: expected one value", words.join(",")));
    }
    words.join(",")
}

/// The origin of a URL: HTTPS, or HTTP on this machine, where tests run.
fn origin(url: &str) -> Option<&str> {
    let scheme = ["https://", "http://127.0.0.1:"].into_iter().find(|scheme| url.starts_with(scheme))?;
    let after = url.get(scheme.len()..)?;
    let host = after.split('/').next().filter(|host| !host.is_empty())?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:".contains(&byte);
    host.bytes().all(plain).then(|| url.get(..scheme.len() + host.len()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changed: &[(&str, &str)]) -> Result<Option<SignIn>, ConfigErrors> {
        let usual = [
            ("SIGN_IN_ISSUER", "https://id.example.com/realms/main"),
            ("SIGN_IN_CLIENT_ID", "page"),
            ("SIGN_IN_SCOPES", "openid,email"),
            ("GROUPS_CLAIM", "groups"),
            ("READER_GROUP", "reader"),
            ("OPERATOR_GROUP", "operator"),
        ];
        let all = changed.iter().chain(&usual);
        SignIn::read(|name| all.clone().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn nothing_is_configured_by_default_and_a_part_is_an_error() {
        assert_eq!(SignIn::read(|_| None), Ok(None));
        assert_eq!(SignIn::read(|name| (name == "other").then(|| "x".to_owned())), Ok(None));
        let error = read(&[("READER_GROUP", ""), ("SIGN_IN_CLIENT_ID", "")]).unwrap_err().to_string();
        assert_eq!(
            error,
            "stage variable `SIGN_IN_CLIENT_ID` is not set: the page's client ID at the issuer; \
             stage variable `READER_GROUP` is not set: the group that may read"
        );
    }

    #[test]
    fn the_page_connects_to_the_issuer_and_its_token_endpoint() {
        let sign_in = read(&[]).unwrap().unwrap();
        assert_eq!(sign_in.origins().collect::<Vec<_>>(), ["https://id.example.com"]);
        let expected = "<meta name=\"sign-in\" content=\"https://id.example.com/realms/main page openid email\">\n";
        assert_eq!(sign_in.meta(), expected);
        let cognito = read(&[("SIGN_IN_ORIGIN", "https://x.auth.eu-west-1.amazoncognito.com")]).unwrap().unwrap();
        let expected = ["https://id.example.com", "https://x.auth.eu-west-1.amazoncognito.com"];
        assert_eq!(cognito.origins().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_could_change_the_html_or_its_policy_is_refused() {
        let wrong = [
            ("SIGN_IN_ISSUER", "http://id.example.com"),
            ("SIGN_IN_ISSUER", "https://"),
            ("SIGN_IN_ISSUER", "https://id.example.com *"),
            ("SIGN_IN_ISSUER", "https://user@id.example.com/"),
            ("SIGN_IN_ISSUER", "https://*.example.com/"),
            ("SIGN_IN_ISSUER", "https://id.example.com/?\"><script>"),
            ("SIGN_IN_ORIGIN", "https://id.example.com/path"),
            ("SIGN_IN_ORIGIN", "https://id.example.com; script-src *"),
            ("SIGN_IN_CLIENT_ID", "a b"),
            ("SIGN_IN_SCOPES", "openid\" onload"),
            ("READER_GROUP", "all readers"),
            ("READER_GROUP", "readers,operators"),
        ];
        for (name, value) in wrong {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(&format!("stage variable `{name}` is `")), "{name}={value}: {error}");
        }
    }
}

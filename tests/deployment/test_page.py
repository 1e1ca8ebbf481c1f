"""The page's stack: people sign in at its user pool, and read or operate as their groups say."""

import base64
import hashlib
import json
import urllib.parse

import pytest

from cloud import HUB, HUB_REGION, ask
from stacks import INFRA, deploy

PASSWORD = "correct horse battery staple"
VERIFIER = "v" * 43


@pytest.fixture(scope="module")
def page(cloud, hub):
    body = (INFRA / "page.yaml").read_text()
    return deploy(
        cloud, "ecr-lineage-page", body, HUB, HUB_REGION, Functions=hub.outputs["Functions"], Mfa="OFF",
    )


def call(cloud, page, path, token=None, body=None):
    """A request to the API: its status, its headers, and its JSON or its text."""
    host = f"{page.ids['Api']}.execute-api.localhost:{cloud.ministack_url.rsplit(':', 1)[1]}"
    headers = {"host": host, "content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    method, body = ("GET", None) if body is None else ("POST", json.dumps(body))
    status, said, answer = ask(cloud.ministack_url, method, path, headers, body)
    said = {name.lower(): value for name, value in said}
    return status, said, json.loads(answer) if "json" in said.get("content-type", "") else answer.decode()


def form(cloud, path, **fields):
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return ask(cloud.ministack_url, "POST", path, headers, urllib.parse.urlencode(fields))


def signed_in(cloud, page, name, *groups):
    """The ID token of a new person, by the authorization code flow with PKCE."""
    pool, client = page.ids["Pool"], page.ids["PoolClient"]
    email = f"{name}@example.com"
    cognito = cloud.client("cognito-idp")
    attributes = [{"Name": "email", "Value": email}, {"Name": "email_verified", "Value": "true"}]
    cognito.admin_create_user(UserPoolId=pool, Username=email, UserAttributes=attributes, MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=pool, Username=email, Password=PASSWORD, Permanent=True)
    for group in groups:
        cognito.admin_add_user_to_group(UserPoolId=pool, Username=email, GroupName=group)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    asked = {"client_id": client, "redirect_uri": page.outputs["PageUrl"], "response_type": "code"}
    asked |= {"scope": "openid email", "state": "x", "code_challenge": challenge, "code_challenge_method": "S256"}
    _, said, answer = form(cloud, "/login", username=email, password=PASSWORD, **asked)
    location = {name.lower(): value for name, value in said}.get("location", answer.decode())
    [code] = urllib.parse.parse_qs(urllib.parse.urlsplit(location).query)["code"]
    exchange = {"grant_type": "authorization_code", "client_id": client, "code": code}
    _, _, answer = form(
        cloud, "/oauth2/token", redirect_uri=page.outputs["PageUrl"], code_verifier=VERIFIER, **exchange,
    )
    return json.loads(answer)["id_token"]


def test_the_page_loads_before_anybody_signs_in(cloud, page):
    status, said, html = call(cloud, page, "/")
    assert status == 200, html
    issuer = f"https://cognito-idp.{HUB_REGION}.amazonaws.com/{page.ids['Pool']}"
    assert f'<meta name="sign-in" content="{issuer} {page.ids["PoolClient"]} openid email">' in html
    token = f"https://{page.ids['PoolDomain']}.auth.{HUB_REGION}.amazoncognito.com"
    origin = issuer.rsplit("/", 1)[0]
    assert f"connect-src 'self' {origin} {token};" in said["content-security-policy"]
    module = html.split('src="')[1].split('"')[0]
    assert call(cloud, page, f"/{module}")[0] == 200


def test_without_a_token_the_api_answers_nothing(cloud, page):
    for path, body in [("/v1/overview", None), ("/v1/openapi.json", None), ("/v1/pauses", {"reason": "no"})]:
        assert call(cloud, page, path, body=body)[0] == 401, path
        assert call(cloud, page, path, token="e30.e30.e30", body=body)[0] == 401, path


def test_an_operator_acts_with_their_name(cloud, page):
    token = signed_in(cloud, page, "olga", "operator", "reader")
    status, _, overview = call(cloud, page, "/v1/overview", token)
    assert (status, overview["may_change"]) == (200, True), overview
    assert overview["caller"].startswith("olga@example.com (sub "), overview["caller"]
    status, _, paused = call(cloud, page, "/v1/pauses", token, {"source": "111122223333/eu-west-1", "reason": "drill"})
    assert status == 200, paused
    status, _, said = call(cloud, page, "/v1/overview", token)
    assert overview["caller"] in [pause["by"] for pause in said["pauses"]]
    status, _, resumed = call(cloud, page, "/v1/pauses/resume", token, {"source": "111122223333/eu-west-1"})
    assert status == 200, resumed


def test_a_reader_changes_nothing(cloud, page):
    token = signed_in(cloud, page, "rita", "reader")
    status, _, overview = call(cloud, page, "/v1/overview", token)
    assert (status, overview["may_change"]) == (200, False), overview
    status, _, problem = call(cloud, page, "/v1/pauses", token, {"reason": "no"})
    assert (status, problem["code"]) == (403, "not_operator")


def test_a_person_in_no_group_reads_nothing(cloud, page):
    token = signed_in(cloud, page, "nora")
    status, _, problem = call(cloud, page, "/v1/overview", token)
    assert (status, problem["code"]) == (403, "no_group")


def test_only_this_api_may_start_the_functions(cloud, hub, page):
    names = hub.outputs["Functions"].split(",")
    arn = f"arn:aws:execute-api:{HUB_REGION}:{HUB}:{page.ids['Api']}"
    for function, source in [(names[5], f"{arn}/*"), (names[6], f"{arn}/*/POST/v1/*")]:
        policy = json.loads(cloud.client("lambda").get_policy(FunctionName=function)["Policy"])
        [statement] = [one for one in policy["Statement"] if "apigateway" in json.dumps(one["Principal"])]
        assert statement["Action"] == "lambda:InvokeFunction"
        assert source in json.dumps(statement["Condition"]) and HUB in json.dumps(statement["Condition"])

"""The page's stack: people sign in at its user pool, and read or operate as their groups say.

ministack passes no stage variables to a function. So `call` tries the routes and the authorizer, and `answer` gives the
deployed functions the event that API Gateway makes of a request, with the stage's variables and the token's claims."""

import base64
import hashlib
import json
import urllib.parse

import pytest

from cloud import HUB, HUB_REGION, ask
from stacks import ARTIFACTS, deploy

PASSWORD = "correct horse battery staple"
VERIFIER = "v" * 43


@pytest.fixture(scope="module")
def page(cloud, hub):
    body = (ARTIFACTS / "page.yaml").read_text()
    return deploy(
        cloud, "ecr-lineage-page", body, HUB, HUB_REGION, Functions=hub.outputs["Functions"], Mfa="OFF",
    )


def call(cloud, page, path, token=None, body=None):
    """A request to the API: its status, its headers, and its JSON or its text. ministack looks for the API in the account of
    the query's credential; AWS knows the API by its host name alone."""
    host = f"{page.ids['Api']}.execute-api.localhost:{cloud.ministack_url.rsplit(':', 1)[1]}"
    headers = {"host": host, "content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    method, body = ("GET", None) if body is None else ("POST", json.dumps(body))
    credential = urllib.parse.quote(f"{HUB}/20261130/{HUB_REGION}/execute-api/aws4_request", safe="")
    path = f"{path}?X-Amz-Credential={credential}"
    status, said, answer = ask(cloud.ministack_url, method, path, headers, body)
    said = {name.lower(): value for name, value in said}
    return status, said, json.loads(answer) if "json" in said.get("content-type", "") else answer.decode()


def answer(cloud, hub, page, path, token=None, body=None):
    """What the function of a route answers to a request: its status, its headers, and its JSON or its text."""
    [stage] = cloud.client("apigatewayv2").get_stages(ApiId=page.ids["Api"])["Items"]
    method = "GET" if body is None else "POST"
    context = {"http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "x"}}
    context |= {"stage": "$default", "apiId": page.ids["Api"], "timeEpoch": 0}
    headers = {"host": "x.execute-api.amazonaws.com", "content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
        claims = {name: text(claim) for name, claim in payload(token).items()}
        context["authorizer"] = {"jwt": {"claims": claims, "scopes": None}}
    event = {"version": "2.0", "routeKey": "x", "rawPath": path, "rawQueryString": "", "headers": headers}
    event |= {"requestContext": context, "stageVariables": stage["StageVariables"], "isBase64Encoded": False}
    event |= {} if body is None else {"body": json.dumps(body)}
    function = hub.outputs["Functions"].split(",")[5 if body is None else 6]
    answered = cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
    said = json.loads(answered["Payload"].read())
    headers, content = said["headers"], said["body"]
    return said["statusCode"], headers, json.loads(content) if "json" in headers["content-type"] else content


def payload(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def text(claim):
    """A claim, as API Gateway writes it into an event."""
    match claim:
        case list():
            return f"[{' '.join(claim)}]"
        case bool():
            return str(claim).lower()
    return str(claim)


def form(cloud, path, **fields):
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return ask(cloud.ministack_url, "POST", path, headers, urllib.parse.urlencode(fields))


def signed_in(cloud, page, name, *groups):
    """The ID token of a new person, by the authorization code flow with PKCE."""
    pool, client = page.ids["Pool"], page.ids["PoolClient"]
    email = f"{name}@example.com"
    cognito = cloud.client("cognito-idp")
    attributes = [{"Name": "email", "Value": email}, {"Name": "email_verified", "Value": "true"}]
    cognito.admin_create_user(UserPoolId=pool, Username=email, UserAttributes=attributes, MessageAction="SUPPRESS", TemporaryPassword=f"first {PASSWORD}")
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


def test_the_page_loads_before_anybody_signs_in(cloud, hub, page):
    status, _, html = call(cloud, page, "/")
    assert status == 200, html
    module = html.split('src="')[1].split('"')[0]
    assert call(cloud, page, f"/{module}")[0] == 200
    _, said, html = answer(cloud, hub, page, "/")
    issuer = f"https://cognito-idp.{HUB_REGION}.amazonaws.com/{page.ids['Pool']}"
    assert f'<meta name="sign-in" content="{issuer} {page.ids["PoolClient"]} openid email">' in html
    token = f"https://{page.ids['PoolDomain']}.auth.{HUB_REGION}.amazoncognito.com"
    assert f"connect-src 'self' {issuer.rsplit('/', 1)[0]} {token};" in said["content-security-policy"]


def test_without_a_token_the_api_answers_nothing(cloud, hub, page):
    for path, body in [("/v1/overview", None), ("/v1/openapi.json", None), ("/v1/pauses", {"reason": "no"})]:
        assert call(cloud, page, path, body=body)[0] == 401, path
        assert call(cloud, page, path, token="e30.e30.e30", body=body)[0] == 401, path
        # The function does not rely on that.
        assert answer(cloud, hub, page, path, body=body)[0] == 401, path
    token = signed_in(cloud, page, "tess", "operator")
    forged = token[:-8] + ("A" * 8 if token[-8:] != "A" * 8 else "B" * 8)
    assert call(cloud, page, "/v1/overview", forged)[0] == 401
    # The authorizer takes the pool's token. Without stage variables the function refuses it.
    status, _, problem = call(cloud, page, "/v1/overview", token)
    assert (status, problem["code"]) == (500, "sign_in_unusable"), problem


def test_an_operator_acts_with_their_name(cloud, hub, page):
    token = signed_in(cloud, page, "olga", "operator", "reader")
    status, _, overview = answer(cloud, hub, page, "/v1/overview", token)
    assert (status, overview["may_change"]) == (200, True), overview
    assert overview["caller"].startswith("olga@example.com (sub "), overview["caller"]
    hold = {"hold": "page/*"}
    status, _, held = answer(cloud, hub, page, "/v1/holds", token, hold | {"reason": "drill"})
    assert status == 200, held
    _, _, said = answer(cloud, hub, page, "/v1/holds", token)
    assert [hold["by"] for hold in said["holds"]] == [overview["caller"]]
    status, _, released = answer(cloud, hub, page, "/v1/holds/release", token, hold)
    assert status == 200, released


@pytest.mark.parametrize("groups,read,code", [(["reader"], 200, "not_operator"), ([], 403, "no_group")])
def test_other_people_change_nothing(cloud, hub, page, groups, read, code):
    token = signed_in(cloud, page, f"rita{len(groups)}", *groups)
    status, _, overview = answer(cloud, hub, page, "/v1/overview", token)
    assert (status, overview.get("may_change", False)) == (read, False), overview
    status, _, problem = answer(cloud, hub, page, "/v1/pauses", token, {"reason": "no"})
    assert (status, problem["code"]) == (403, code)


def test_only_this_api_may_start_the_functions(cloud, hub, page):
    names = hub.outputs["Functions"].split(",")
    arn = f"arn:aws:execute-api:{HUB_REGION}:{HUB}:{page.ids['Api']}"
    for function, source in [(names[5], f"{arn}/*"), (names[6], f"{arn}/*/POST/v1/*")]:
        policy = json.loads(cloud.client("lambda").get_policy(FunctionName=function)["Policy"])
        [statement] = [one for one in policy["Statement"] if "apigateway" in json.dumps(one["Principal"])]
        assert statement["Action"] == "lambda:InvokeFunction"
        assert source in json.dumps(statement["Condition"]) and HUB in json.dumps(statement["Condition"])

"""Opaque tokens, known by asking the server that gave them out (RFC 7662)."""

from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel

from modgate.plugin import (
    Asking,
    Authenticator,
    Credential,
    Identity,
    Lookup,
    Reject,
    Secret,
    hookimpl,
)


class Config(BaseModel, frozen=True, extra="forbid"):
    url: str  # the introspection endpoint
    token: Secret  # what the gateway itself is known by there
    tenant_field: str = "org"


class Introspect(Authenticator[Config]):
    name = "introspect"
    config_type = Config

    def origins(self) -> list[str]:
        parts = urlsplit(self.config.url)
        return [f"{parts.scheme}://{parts.netloc}"]

    def authenticate(self, credential: Credential) -> Asking | None:
        text = credential.secret.reveal()
        if not text.startswith("at_") or len(text) > 200:
            return None  # not ours: the next is asked, and nobody is bothered
        return self.ask(text)

    def ask(self, token: str) -> Asking:
        document = yield Lookup(
            url=self.config.url,
            method="POST",
            headers={
                "Authorization": f"Bearer {self.config.token.reveal()}",
                "Content-Type": "application/x-www-form-urlencoded",
            },
            body=urlencode({"token": token}).encode(),
        )
        said = document.fields()
        tenant = said.get(self.config.tenant_field)
        if document.status != 200 or said.get("active") is not True or not isinstance(tenant, str):
            return Reject(message="the token is not active")
        return Identity(tenant=tenant[:100] or "?", key_id=str(said.get("client_id", ""))[:60])


@hookimpl
def modgate_authenticators() -> list[type[Introspect]]:
    return [Introspect]

"""Gateways that each break one rule, and the checks that must turn red on them: those, and no other.

A mutation is a subclass of the reference that overrides the one method the rule stands in.
"""

from __future__ import annotations

import json
import time
from copy import deepcopy
from typing import Any

from flask import request
from joserfc import jws
from joserfc.jwk import OctKey

from profiles.issues import Issue
from tests.conformance.reference_server import SCHEMA, Client, Held, NoToken, Reference, Referral, Refusal, decoded, instant, no_lock

Mutation = tuple[str, type[Reference], frozenset[str]]
MUTATIONS: list[Mutation] = []


def breaks(*checks: str):
    """Register a mutation with the checks it must turn red."""

    def register(kind: type[Reference]) -> type[Reference]:
        MUTATIONS.append((kind.__name__, kind, frozenset(checks)))
        return kind

    return register


# discovery


@breaks("discovery-smart-configuration")
class ServesDiscoveryAsFhir(Reference):
    def smart_media_type(self) -> str:
        return "application/fhir+json"


@breaks("discovery-smart-configuration")
class ForgetsThePrivateKeyMethod(Reference):
    def smart_configuration(self) -> dict[str, Any]:
        return {**super().smart_configuration(), "capabilities": ["permission-v2"]}


@breaks("discovery-conditional-rules")
class NamesAnIssuerWithoutOpenIdConnect(Reference):
    def smart_configuration(self) -> dict[str, Any]:
        return {**super().smart_configuration(), "issuer": self.base_url}


@breaks("discovery-conditional-rules")
class OffersPlainCodeChallenges(Reference):
    def smart_configuration(self) -> dict[str, Any]:
        return {**super().smart_configuration(), "code_challenge_methods_supported": ["S256", "plain"]}


@breaks("discovery-authorization-server")
class NamesAnotherIssuer(Reference):
    def authorization_server(self) -> dict[str, Any]:
        return {**super().authorization_server(), "issuer": "https://elsewhere.example"}


@breaks("discovery-authorization-server")
class PublishesAPrivateKey(Reference):
    def jwks(self) -> dict[str, Any]:
        document = super().jwks()
        document["keys"][0]["d"] = "c2VjcmV0"
        return document


@breaks("discovery-capability-statement")
class SaysItIsR5(Reference):
    def capability_statement(self) -> dict[str, Any]:
        return {**super().capability_statement(), "fhirVersion": "5.0.0"}


@breaks("discovery-capability-statement")
class OffersASearchItRefuses(Reference):
    def search(self, client: Client, kind: str, query: dict[str, str]) -> list[Held]:
        if kind == "Patient":
            raise Refusal(405, "not-supported", "Not offered.")
        return super().search(client, kind, query)


@breaks("discovery-capability-statement")
class ServesAnInvalidStatement(Reference):
    def capability_statement(self) -> dict[str, Any]:
        return {name: value for name, value in super().capability_statement().items() if name != "kind"}


# tokens


@breaks("token-es384")
class GivesEs384TokensThatOpenNothing(Reference):
    def fhir_caller(self, kind: str, letter: str) -> Client:

        if request.args.get("_count") == "1" and request.headers.get("Accept") == "application/fhir+json" and not self.is_rsa():
            raise Refusal(403, "forbidden", "Not for this token.")
        return super().fhir_caller(kind, letter)

    def is_rsa(self) -> bool:
        return getattr(self, "last_algorithm", "") == "RS384"

    def require_algorithm(self, header: dict[str, Any]) -> None:
        super().require_algorithm(header)
        self.last_algorithm = header["alg"]


@breaks("token-es384", "token-rs384", "token-scope-not-widened")
class GivesTokensWithoutAType(Reference):
    def token(self, form: dict[str, str]) -> dict[str, Any]:
        return {name: value for name, value in super().token(form).items() if name != "token_type"}


@breaks("token-rs384")
class SaysRs384AndRefusesIt(Reference):
    def require_algorithm(self, header: dict[str, Any]) -> None:
        if header.get("alg") == "RS384":
            raise NoToken("invalid_client")
        super().require_algorithm(header)


@breaks("token-scope-not-widened")
class GrantsWhateverIsAsked(Reference):
    def granted(self, client: Client, asked: list[str]) -> set[str]:
        return set(asked)


@breaks("token-scope-not-widened")
class GrantsEverythingRegistered(Reference):
    def granted(self, client: Client, asked: list[str]) -> set[str]:
        return set(client.scopes)


@breaks("token-grant-type")
class TakesAnyGrant(Reference):
    def require_grant(self, form: dict[str, str]) -> None:
        """Nothing is looked at."""


@breaks("token-replayed-assertion", "token-reused-jti", "token-replay-race")
class KeepsNoJti(Reference):
    def jti_is_new(self, issuer: str, jti: Any, assertion: str) -> bool:
        return True


@breaks("token-reused-jti")
class KnowsAReplayByItsText(Reference):
    def jti_is_new(self, issuer: str, jti: Any, assertion: str) -> bool:
        return super().jti_is_new(issuer, assertion, assertion)


@breaks("token-replay-race")
class LooksForTheJtiBeforeItKeepsIt(Reference):
    def jti_is_new(self, issuer: str, jti: Any, assertion: str) -> bool:
        if (issuer, jti) in self.jtis:
            return False
        time.sleep(0.1)
        self.jtis.add((issuer, jti))
        return True


@breaks("token-expired")
class TakesWhatHasExpired(Reference):
    def not_past(self, exp: Any) -> bool:
        return isinstance(exp, int)


@breaks("token-exp-too-far")
class TakesAssertionsForADay(Reference):
    def not_too_far(self, exp: Any) -> bool:
        return True


@breaks("token-exp-too-far")
class NeedsNoExp(Reference):
    def not_past(self, exp: Any) -> bool:
        return exp is None or super().not_past(exp)

    def not_too_far(self, exp: Any) -> bool:
        return exp is None or super().not_too_far(exp)


@breaks("token-wrong-audience")
class ReadsNoAudience(Reference):
    def audience_fits(self, audience: Any) -> bool:
        return True


@breaks("token-wrong-audience")
class TakesOneAudienceOfSeveral(Reference):
    def audience_fits(self, audience: Any) -> bool:
        return f"{self.base_url}/oauth/token" in (audience if isinstance(audience, list) else [audience])


@breaks("token-foreign-key")
class VerifiesNoSignature(Reference):
    def verified(self, assertion: str, header: dict[str, Any], client: Client) -> dict[str, Any]:

        return json.loads(decoded(assertion.split(".")[1]))


@breaks("token-foreign-key")
class TakesAnyRegisteredKey(Reference):
    def key_of(self, client: Client, header: dict[str, Any]) -> Any:
        return next((each.keys[header["kid"]] for each in self.clients.values() if header.get("kid") in each.keys), None)


@breaks("token-missing-jti")
class NeedsNoJti(Reference):
    def jti_is_text(self, jti: Any) -> bool:
        return True

    def jti_is_new(self, issuer: str, jti: Any, assertion: str) -> bool:
        return not isinstance(jti, str) or not jti or super().jti_is_new(issuer, jti, assertion)


@breaks("token-issuer-is-subject")
class LooksAtTheSubjectAlone(Reference):
    def client_named(self, claims: dict[str, Any]) -> Client:
        return super().client_named({**claims, "iss": claims.get("sub")})


@breaks("token-unsigned")
class TakesUnsignedAssertions(Reference):
    def require_algorithm(self, header: dict[str, Any]) -> None:
        if str(header.get("alg")).lower() != "none":
            super().require_algorithm(header)

    def verified(self, assertion: str, header: dict[str, Any], client: Client) -> dict[str, Any]:

        if header["alg"].lower() == "none":
            return json.loads(decoded(assertion.split(".")[1]))
        return super().verified(assertion, header, client)


@breaks("token-hs256")
class TakesThePublicKeyForASecret(Reference):
    def require_algorithm(self, header: dict[str, Any]) -> None:
        if header.get("alg") != "HS256":
            super().require_algorithm(header)

    def verified(self, assertion: str, header: dict[str, Any], client: Client) -> dict[str, Any]:
        if header["alg"] != "HS256":
            return super().verified(assertion, header, client)
        secret = OctKey.import_key(self.key_of(client, header).as_pem(private=False))
        try:
            return json.loads(jws.deserialize_compact(assertion, secret, algorithms=["HS256"]).payload)
        except ValueError:
            raise NoToken("invalid_client") from None


# access


@breaks("access-no-token", "access-invented-token", "access-token-in-query")
class GivesNoChallenge(Reference):
    def caller(self) -> tuple[Client, set[str]]:
        try:
            return super().caller()
        except Refusal:
            raise Refusal(403, "forbidden", "No.") from None


@breaks("access-no-token")
class LeavesTheReceiptsOpen(Reference):
    def intake_caller(self) -> Client:

        if request.path.startswith("/referrals/0") and not self.bearer():
            raise Refusal(404, "not-found", "Nothing is known under this address.")
        return super().intake_caller()


@breaks("access-invented-token")
class TakesAnAssertionForAToken(Reference):
    def caller(self) -> tuple[Client, set[str]]:
        if self.bearer().count(".") == 2:
            client = self.clients["kit-receiver"]
            return client, client.scopes
        return super().caller()


@breaks("access-token-in-query")
class TakesATokenFromTheAddress(Reference):
    def bearer(self) -> str:

        return super().bearer() or request.args.get("access_token", "")


@breaks("access-sender-on-fhir")
class LetsSendersIntoFhir(Reference):
    def fhir_caller(self, kind: str, letter: str) -> Client:
        return self.caller()[0]


@breaks("access-sender-on-fhir")
class RefusesSendersByInstance(Reference):
    def fhir_caller(self, kind: str, letter: str) -> Client:

        id_ = request.path.rpartition("/")[2]
        _, scopes = self.caller()
        if not any(scope.startswith("system/") for scope in scopes) and request.path.count("/") == 3 and (kind, id_) not in self.held:
            raise Refusal(404, "not-found", "Nothing is known under this address.")
        return super().fhir_caller(kind, letter)


@breaks("access-receiver-on-intake")
class TakesAnyTokenAtTheIntake(Reference):
    def intake_caller(self) -> Client:
        return self.caller()[0]


@breaks("access-foreign-task", "access-foreign-person")
class ShowsEverythingToEveryProvider(Reference):
    def may_see(self, client: Client, kind: str, held: Held) -> bool:
        return bool(held.parties)


@breaks("access-foreign-task", "access-foreign-person")
class SaysForbiddenForWhatIsForeign(Reference):
    def not_found(self, *, exists: bool) -> Refusal:
        ours = super().not_found(exists=exists)

        foreign = exists and request.path.startswith("/fhir") and self.caller()[0].id == "kit-stranger"
        return Refusal(403, "forbidden", "Not yours.") if foreign else ours


@breaks("access-foreign-task", "access-foreign-person")
class SpeaksOfWhatIsForeignInOtherWords(Reference):
    def not_found(self, *, exists: bool) -> Refusal:

        if exists and request.path.startswith("/fhir"):
            return Refusal(404, "not-found", "Nothing is known to you under this address.")
        return super().not_found(exists=exists)


@breaks("access-foreign-task")
class FindsForeignTasksByTheirId(Reference):
    def search(self, client: Client, kind: str, query: dict[str, str]) -> list[Held]:
        named = self.held.get((kind, query.get("_id", "")))
        return [named] if named else super().search(client, kind, query)


@breaks("access-foreign-person")
class GuardsTasksAlone(Reference):
    def may_see(self, client: Client, kind: str, held: Held) -> bool:
        return bool(held.parties) if kind != "Task" else super().may_see(client, kind, held)


# tasks


@breaks("task-read")
class ServesAnInvalidTask(Reference):
    def keep(self, body: dict[str, Any]) -> str:
        return super().keep({**body, "authoredOn": "yesterday"} if body["resourceType"] == "Task" else body)

    def require_valid(self, task: dict[str, Any]) -> None:
        super().require_valid({name: value for name, value in task.items() if name != "authoredOn"})


@breaks("task-if-match-stale", "task-accept", "task-one-winner")
class ReadsNoVersion(Reference):
    def require_match(self, if_match: str | None, held: Held) -> None:
        if if_match is None:
            super().require_match(if_match, held)


@breaks("task-if-match-missing")
class TakesAMissingIfMatch(Reference):
    def require_match(self, if_match: str | None, held: Held) -> None:
        if if_match is not None:
            super().require_match(if_match, held)


@breaks("task-illegal-move")
class TakesAnyMoveOfAnOpenTask(Reference):
    def require_move(self, old: str, new: str) -> None:
        if old != "requested":
            super().require_move(old, new)


@breaks("task-illegal-move")
class NamesNoLegalMove(Reference):
    def require_move(self, old: str, new: str) -> None:
        try:
            super().require_move(old, new)
        except Refusal:
            raise Refusal(422, "business-rule", "No such move.", ("Task.status",)) from None


@breaks("task-unknown-status")
class TakesAnyStatus(Reference):
    def require_valid(self, task: dict[str, Any]) -> None:
        super().require_valid({**task, "status": "accepted"})

    def require_move(self, old: str, new: str) -> None:
        if new != "banana":
            super().require_move(old, new)


@breaks("task-owner-elements")
class TakesTheWholeTask(Reference):
    def require_owned(self, served: dict[str, Any], wanted: dict[str, Any]) -> None:
        """Everything is the receiver's to change."""


@breaks("task-accept")
class AnswersWithTheOldVersion(Reference):
    def update(self, client: Client, id_: str, if_match: str | None, change: Any) -> Held:

        before = deepcopy(self.find(client, "Task", id_))
        after = super().update(client, id_, if_match, change)
        return before if after.body["status"] == "in-progress" or change(before.body).keys() == before.body.keys() else after


@breaks("task-one-winner")
class ComparesTheVersionBeforeTheLock(Reference):
    def require_match(self, if_match: str | None, held: Held) -> None:
        super().require_match(if_match, held)
        self.lock.release()
        time.sleep(0.15)
        self.lock.acquire()

    def require_move(self, old: str, new: str) -> None:
        if old not in ("accepted", "rejected"):
            super().require_move(old, new)


@breaks("task-declined-loses-person")
class LetsADeclinedReceiverKeepThePerson(Reference):
    def end_offer(self, task: Held, status: str) -> None:
        if status == "cancelled":
            super().end_offer(task, status)
        else:
            self.write(task, {**task.body, "status": status})


# intake


@breaks("intake-schema")
class RefusesItsOwnExample(Reference):
    def require_member(self, message: dict[str, Any], name: str) -> None:
        super().require_member(message, name)
        if message["request_number"] == SCHEMA["examples"][0]["request_number"]:
            raise Refusal(422, "value", "Not an example.")


@breaks(
    "intake-receipt",
    "receipt-says-nothing-of-acceptance",
    "receipt-says-nothing-of-decline",
    "receipt-cancel-equal-bytes",
    "receipt-closed-after-cancel",
    "receipt-foreign",
)
class ShowsTheTaskInTheReceipt(Reference):
    def view(self, referral: Referral) -> dict[str, Any]:
        return {**super().view(referral), "task": referral.task}


@breaks("intake-receipt")
class SaysNoIssues(Reference):
    def view(self, referral: Referral) -> dict[str, Any]:
        return {**super().view(referral), "issues": referral.issues or None}


@breaks("intake-same-again", "intake-sixteen-at-once", "intake-other-content", "intake-revisions")
class MakesANewReferralEachTime(Reference):
    def known(self, client: Client, message: dict[str, Any]) -> Referral | None:
        return None


@breaks("intake-same-again")
class ComparesTheBytesOfTheBody(Reference):
    def content(self, message: dict[str, Any]) -> bytes:

        return request.get_data()


@breaks("intake-other-content")
class OverwritesInSilence(Reference):
    def same_content(self, old: bytes, new: bytes) -> bool:
        return True


@breaks("intake-revisions")
class GivesEachRevisionAReceipt(Reference):
    def key(self, client: Client, message: dict[str, Any]) -> tuple[str, str]:
        return client.organization, f"{message.get('request_number')}/{message.get('revision')}"


@breaks("intake-sixteen-at-once")
class LooksForTheNumberBeforeItKeepsIt(Reference):
    def take_in(self, client: Client, message: dict[str, Any], issues: list[Issue]) -> tuple[Referral, int]:
        lock, self.lock = self.lock, no_lock
        try:
            return super().take_in(client, message, issues)
        finally:
            self.lock = lock

    def known(self, client: Client, message: dict[str, Any]) -> Referral | None:
        found = super().known(client, message)
        if found is None:
            time.sleep(0.1)
        return found


@breaks("intake-numbers-are-the-senders")
class TakesNumbersForEverybodys(Reference):
    def key(self, client: Client, message: dict[str, Any]) -> tuple[str, str]:
        return "", super().key(client, message)[1]


@breaks("intake-dry-run")
class KeepsADryRun(Reference):
    def dry_run(self, client: Client, message: dict[str, Any], issues: list[Issue]) -> dict[str, Any]:
        self.take_in(client, message, issues)
        return super().dry_run(client, message, issues)


@breaks("intake-dry-run")
class ShowsNothingInADryRun(Reference):
    def dry_run(self, client: Client, message: dict[str, Any], issues: list[Issue]) -> dict[str, Any]:
        return {"trace": []}


@breaks("intake-missing-member")
class NeedsNoMember(Reference):
    def require_member(self, message: dict[str, Any], name: str) -> None:
        """Whatever is missing is missing."""


@breaks("intake-missing-member")
class RefusesWithoutSayingWhat(Reference):
    def require_member(self, message: dict[str, Any], name: str) -> None:
        if name not in message:
            raise Refusal(422, "required", "A member is needed.")


@breaks("intake-missing-member", "intake-unknown-member-strict", "intake-duplicate-keys", "intake-nan", "intake-too-deep")
class KeepsTheNumberOfWhatItRefuses(Reference):
    """The number is noted before the message is judged."""

    def check(self, message: Any, *, strict: bool) -> list[Issue]:
        self.noted = getattr(self, "noted", set())
        if isinstance(message, dict):
            number = message.get("request_number")
            refused = number in self.noted
            self.noted.add(number)
            issues = super().check(message, strict=strict)
            self.noted.discard(number)
            if refused:
                raise Refusal(409, "duplicate", "This number was seen before.")
            return issues
        return super().check(message, strict=strict)

    def parse(self, body: bytes) -> Any:
        try:
            return super().parse(body)
        except Refusal:
            start = body.find(b'"request_number":"', 40 if b"another" in body else 0)
            if start >= 0 and body.endswith(b"}") and body.count(b"}{") == 0 and b"\xff" not in body:
                self.noted = getattr(self, "noted", set()) | {body[start + 18 :].split(b'"')[0].decode()}
            raise


@breaks("intake-unknown-member-strict")
class ReadsNoPreference(Reference):
    def check(self, message: Any, *, strict: bool) -> list[Issue]:
        return super().check(message, strict=False)


@breaks("intake-unknown-member-strict")
class LosesUnknownMembersInSilence(Reference):
    def check(self, message: Any, *, strict: bool) -> list[Issue]:
        issues = super().check(message, strict=strict)
        return [issue for issue in issues if "Unknown" not in issue.text]


@breaks("intake-duplicate-keys")
class KeepsTheLastOfTwoMembers(Reference):
    def parse(self, body: bytes) -> Any:
        if b'"another"' in body:
            return json.loads(body)
        return super().parse(body)


@breaks("intake-nan")
class TakesNaN(Reference):
    def parse(self, body: bytes) -> Any:
        if b"NaN" in body or b"Infinity" in body:
            return {**json.loads(body), "kit_number": None}
        return super().parse(body)


@breaks("intake-too-deep")
class TakesAnyDepth(Reference):
    def parse(self, body: bytes) -> Any:
        return {**json.loads(body), "kit_deep": None} if b"[[[[[[" in body and len(body) < 5000 else super().parse(body)


@breaks("intake-not-json")
class CallsABrokenBodyItsOwnFault(Reference):
    def parse(self, body: bytes) -> Any:
        try:
            return super().parse(body)
        except Refusal as refusal:
            if body[-1:] not in (b"}", b"]") or body == b"":
                raise Refusal(500, "exception", "Something went wrong.") from None
            raise refusal from None


# receipts


@breaks("receipt-says-nothing-of-acceptance")
class TellsOfTheAcceptance(Reference):
    def word(self, referral: Referral) -> str:
        accepted = self.held["Task", referral.task].body["status"] in ("accepted", "in-progress")
        return "accepted" if accepted and not referral.closed_at else super().word(referral)


@breaks("receipt-says-nothing-of-acceptance")
class MovesSinceWithTheAcceptance(Reference):
    def view(self, referral: Referral) -> dict[str, Any]:
        moved = self.held["Task", referral.task].version > 1 and super().word(referral) == "received"
        return {**super().view(referral), **({"since": instant()} if moved else {})}


@breaks("receipt-says-nothing-of-acceptance")
class MovesTheReceiptsTagWithTheAcceptance(Reference):
    def view_etag(self, referral: Referral) -> str:
        return f'W/"{self.held["Task", referral.task].version}"'


@breaks("receipt-says-nothing-of-decline")
class NamesWhoDeclined(Reference):
    def view(self, referral: Referral) -> dict[str, Any]:
        made = super().view(referral)
        if made["status"] == "returned":
            made["next"]["instruction"] = "Kit Clinic has no capacity"
        return made


@breaks("receipt-cancel-equal-bytes")
class SaysThatTheHolderIsAsked(Reference):
    def cancel(self, referral: Referral) -> tuple[dict[str, Any], int]:
        taken = self.held["Task", referral.task].body["status"] == "accepted"
        made, status = super().cancel(referral)
        if taken:
            made["next"] = {**made["next"], "instruction": "the holder is asked"}
        return made, status


@breaks("receipt-cancel-equal-bytes", "receipt-closed-after-cancel")
class AnswersACancelWithReceived(Reference):
    def word(self, referral: Referral) -> str:
        word = super().word(referral)
        return "received" if word == "closed" else word


@breaks("receipt-closed-after-cancel")
class LeavesTheOfferOpenAfterACancel(Reference):
    def withdraw(self, task: Held) -> None:
        """The receiver is not told."""


@breaks("receipt-foreign")
class ShowsEverySenderEveryReceipt(Reference):
    def is_senders(self, client: Client, referral: Referral) -> bool:
        return True


@breaks("receipt-foreign")
class SaysForbiddenForAForeignReceipt(Reference):
    def not_found(self, *, exists: bool) -> Refusal:

        if exists and request.path.startswith("/referrals"):
            return Refusal(403, "forbidden", "Not yours.")
        return super().not_found(exists=exists)

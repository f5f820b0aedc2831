from __future__ import annotations

import asyncio
import base64
import hmac
import os
import re
import sys
import threading
from typing import TYPE_CHECKING

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.errors import ServiceUnavailable
from station.passwords import PasswordHasher, StoredHash, Verified, _top_up, parse_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# From passlib's own tests, the last from passlib 1.7.4.
VECTORS = [
    (b"", "$bcrypt-sha256$v=2,t=2b,r=5$E/e/2AOhqM5W/KJTFQzLce$WFPIZKtDDTriqWwlmRFfHiOTeheAZWe"),
    (b"password", "$bcrypt-sha256$v=2,t=2b,r=5$5Hg1DKFqPE8C2aflZ5vVoe$wOK1VFFtS8IGTrGa7.h5fs0u84qyPbS"),
    (b"abc123" * 12, "$bcrypt-sha256$v=2,t=2b,r=5$X1g1nh3g0v4h6970O68cxe$zu1cloESVFIOsUIo7fCEgkdHaI9SSue"),
    (
        b"abc123" * 12 + b"xyz",
        "$bcrypt-sha256$v=2,t=2b,r=5$X1g1nh3g0v4h6970O68cxe$zC/1UDUG2ofEXB6Onr2vvyFzfhEOS3S",
    ),
    (b"x" * 72 + b"y", "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$/K4TiXfksR2.3ReKsEs1hxRT0B9W6ii"),
]
SALT = "abcdefghijklmnopqrstuu"


def raw(secret: bytes, *, cost: int = 4) -> str:
    """What other tools make."""
    return bcrypt.hashpw(secret, f"$2b${cost:02}${SALT}".encode()).decode()


@pytest.fixture
def hasher() -> Iterator[PasswordHasher]:
    hasher = PasswordHasher(cost=4, workers=1, queue_size=2)
    yield hasher
    hasher.close()


@pytest.mark.gen_test
@pytest.mark.parametrize(("secret", "stored"), VECTORS)
async def test_vectors_of_passlib(hasher: PasswordHasher, secret: bytes, stored: str) -> None:
    assert await hasher.verify([secret], [stored]) == Verified(0, 0, outdated="r=5" in stored)
    assert await hasher.verify([secret + b"."], [stored]) is None


@pytest.mark.gen_test
async def test_hash_makes_what_passlib_makes(hasher: PasswordHasher) -> None:
    secret, stored = VECTORS[-1]
    assert await hasher.hash(secret, salt=SALT) == stored


@pytest.mark.gen_test
@pytest.mark.parametrize("length", [0, 1, 71, 72, 73, 128, 1024, 100_000])
@pytest.mark.parametrize("byte", [b"\x00", b"a", b"\xff"])
async def test_the_last_byte_counts_at_any_length(hasher: PasswordHasher, length: int, byte: bytes) -> None:
    secret = byte * length
    stored = await hasher.hash(secret + b"1")
    assert await hasher.verify([secret + b"1"], [stored])
    assert await hasher.verify([secret + b"2"], [stored]) is None
    assert await hasher.verify([secret], [stored]) is None


@pytest.mark.gen_test
async def test_says_which_candidate_matched_which_hash(hasher: PasswordHasher) -> None:
    stored = [await hasher.hash(secret, salt=SALT) for secret in (b"one", b"two", b"three")]
    assert await hasher.verify([b"none", b"three"], stored) == Verified(1, 2, outdated=False)
    assert await hasher.verify([b"two", b"one"], stored) == Verified(0, 1, outdated=False)
    assert await hasher.verify([b"four", b"five"], stored) is None


@pytest.mark.gen_test
async def test_hashes_of_several_salts_and_costs(hasher: PasswordHasher) -> None:
    stored = [await hasher.hash(b"one"), VECTORS[1][1], await hasher.hash(b"two")]
    assert await hasher.verify([b"two"], stored) == Verified(0, 2, outdated=False)
    assert await hasher.verify([b"password"], stored) == Verified(0, 1, outdated=True)


@pytest.mark.gen_test
async def test_a_hash_may_share_the_salt_and_the_cost_of_another(hasher: PasswordHasher) -> None:
    stored = await hasher.hash(b"secret", salt=SALT, cost=5)
    assert (parse_hash(stored).salt, parse_hash(stored).cost) == (SALT, 5)
    assert await hasher.verify([b"secret"], [stored]) == Verified(0, 0, outdated=True)


@pytest.mark.gen_test
async def test_a_match_with_an_ended_hash_is_no_success(hasher: PasswordHasher) -> None:
    old, new = [await hasher.hash(secret, salt=SALT) for secret in (b"old", b"new")]
    ended = Verified(0, 1, outdated=False, ended=True)
    assert await hasher.verify([b"old", b"x"], [new, old], ended=[1]) == ended
    assert await hasher.verify([b"old", b"new"], [new, old], ended=[1]) == Verified(1, 0, outdated=False)
    assert await hasher.verify([b"x"], [new, old], ended=[1]) is None
    assert await hasher.verify([b"new"], [new, new], ended=[1]) == Verified(0, 0, outdated=False)


@pytest.mark.gen_test
async def test_no_hash_never_matches(hasher: PasswordHasher) -> None:
    assert await hasher.verify([b"", b"secret"], []) is None


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "stored",
    [
        "",
        "secret",
        "$2a$04$abcdefghijklmnopqrstuu/K4TiXfksR2.3ReKsEs1hxRT0B9W6ii",
        "$2b$4$abcdefghijklmnopqrstuu/K4TiXfksR2.3ReKsEs1hxRT0B9W6ii",
        "$2b$03$abcdefghijklmnopqrstuu/K4TiXfksR2.3ReKsEs1hxRT0B9W6ii",
        "$2b$32$abcdefghijklmnopqrstuu/K4TiXfksR2.3ReKsEs1hxRT0B9W6ii",
        "$2b$04$abcdefghijklmnopqrstuv/K4TiXfksR2.3ReKsEs1hxRT0B9W6ii",
        "$2b$04$abcdefghijklmnopqrstuu/K4TiXfksR2.3ReKsEs1hxRT0B9W6i",
        "$2b$04$abcdefghijklmnopqrstuu/K4TiXfksR2.3ReKsEs1hxRT0B9W6ii\n",
        "$bcrypt-sha256$v=1,t=2b,r=4$abcdefghijklmnopqrstuu$/K4TiXfksR2.3ReKsEs1hxRT0B9W6ii",
        "$bcrypt-sha256$v=2,t=2a,r=4$abcdefghijklmnopqrstuu$/K4TiXfksR2.3ReKsEs1hxRT0B9W6ii",
        "$bcrypt-sha256$v=2,t=2b,r=04$abcdefghijklmnopqrstuu$/K4TiXfksR2.3ReKsEs1hxRT0B9W6ii",
        "$bcrypt-sha256$v=2,t=2b,r=3$abcdefghijklmnopqrstuu$/K4TiXfksR2.3ReKsEs1hxRT0B9W6ii",
        "$bcrypt-sha256$v=2,t=2b,r=32$abcdefghijklmnopqrstuu$/K4TiXfksR2.3ReKsEs1hxRT0B9W6ii",
        "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuv$/K4TiXfksR2.3ReKsEs1hxRT0B9W6ii",
        "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$",
        "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$/K4TiXfksR2.3ReKsEs1hxRT0B9W6ii\n",
    ],
)
async def test_a_malformed_hash_is_an_error_and_stays_untold(hasher: PasswordHasher, stored: str) -> None:
    good = VECTORS[-1]
    with pytest.raises(ValueError, match="stored hash") as error:
        await hasher.verify([good[0]], [good[1], stored])
    assert "K4TiXfks" not in str(error.value)


@pytest.mark.gen_test
@pytest.mark.parametrize("length", [0, 1, 71, 72])
async def test_a_raw_hash_is_verified_and_outdated(hasher: PasswordHasher, length: int) -> None:
    secret = b"a" * length
    stored = raw(secret)
    assert await hasher.verify([b"x", secret], [stored]) == Verified(1, 0, outdated=True)
    assert await hasher.verify([secret + b"b"], [stored]) is None
    assert await hasher.verify([b"b" + secret[1:]], [stored]) is None


@pytest.mark.gen_test
async def test_a_candidate_beyond_72_bytes_never_matches_a_raw_hash(hasher: PasswordHasher) -> None:
    long = b"a" * 73
    truncated = raw(long[:72])  # as bcrypt before 5 made it
    assert await hasher.verify([long], [truncated]) is None
    assert await hasher.verify([long[:72]], [truncated])
    # nor what bcrypt is really given in its place
    key = base64.b64encode(hmac.digest(SALT.encode(), long, "sha256"))
    assert await hasher.verify([long], [raw(key)]) is None


def test_the_parts_of_a_hash() -> None:
    stored = VECTORS[-1][1]
    assert parse_hash(stored) == StoredHash(SALT, 4, stored[-31:], raw=False)
    assert parse_hash(raw(b"secret", cost=5)) == StoredHash(SALT, 5, raw(b"secret", cost=5)[-31:], raw=True)
    assert stored[-31:] not in repr(parse_hash(stored))
    assert SALT not in repr(parse_hash(stored))


@pytest.mark.gen_test
async def test_a_malformed_salt_is_an_error(hasher: PasswordHasher) -> None:
    for salt in ("", SALT[1:], SALT[:-1] + "v", SALT + "\n"):
        with pytest.raises(ValueError, match="salt"):
            await hasher.hash(b"secret", salt=salt)


def test_salts_are_new(hasher: PasswordHasher) -> None:
    salts = {hasher.new_salt() for _ in range(100)}
    assert len(salts) == 100
    assert all(re.fullmatch(r"[./A-Za-z0-9]{21}[.Oeu]", salt) for salt in salts)


@given(target=st.integers(4, 31), costs=st.lists(st.integers(4, 31), max_size=4))
def test_work_is_topped_up_to_one_bcrypt(target: int, costs: list[int]) -> None:
    done = sum(2**cost for cost in costs)
    added = list(_top_up(target, costs))
    assert done + sum(2**cost for cost in added) == max(done, 2**target)
    assert all(cost >= 4 for cost in added)


@pytest.mark.gen_test
async def test_every_failure_is_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[int] = []

    def record(key: bytes, salt: bytes, hashpw: Callable[[bytes, bytes], bytes] = bcrypt.hashpw) -> bytes:
        rounds.append(2 ** int(salt.split(b"$")[2]))
        return hashpw(key, salt)

    monkeypatch.setattr(bcrypt, "hashpw", record)
    hasher = PasswordHasher(cost=6)
    low = [stored for _, stored in VECTORS[-1:]]
    shared = [await hasher.hash(secret, salt=SALT) for secret in (b"one", b"two")]
    for hashes in ([], low, shared, [raw(b"secret")], [raw(b"secret", cost=6)]):
        for wrong in (b"wrong", b"w" * 72, b"w" * 73, b"w" * 128):
            rounds.clear()
            assert await hasher.verify([wrong, b"wrong too"], hashes) is None
            assert sum(rounds) == 2 * 2**6
    rounds.clear()
    found = await hasher.verify([b"one", b"wrong"], shared, ended=[0, 1])
    assert (found, sum(rounds)) == (Verified(0, 0, outdated=False, ended=True), 2 * 2**6)
    hasher.close()


@pytest.mark.gen_test
async def test_a_full_queue_is_503(hasher: PasswordHasher) -> None:
    release = threading.Event()
    jobs = [asyncio.create_task(hasher._run(release.wait)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(ServiceUnavailable) as refused:
        await hasher.verify([b"secret"], [])
    assert refused.value.headers["Retry-After"] == "1"
    release.set()
    await asyncio.gather(*jobs)
    assert await hasher.hash(b"secret")


@pytest.mark.gen_test
async def test_a_cancelled_waiter_gives_its_place_back(hasher: PasswordHasher) -> None:
    release, running = threading.Event(), threading.Event()

    def hold() -> None:
        running.set()
        release.wait()

    held = asyncio.create_task(hasher._run(hold))
    await asyncio.to_thread(running.wait)
    for _ in range(5):  # each fills the queue
        waiting = [asyncio.create_task(hasher.hash(b"secret")) for _ in range(2)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    held.cancel()  # its thread goes on and keeps the place
    await asyncio.gather(held, return_exceptions=True)
    waiting = [asyncio.create_task(hasher.hash(b"secret")) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ServiceUnavailable):
        await hasher.hash(b"secret")
    release.set()
    assert len(await asyncio.gather(*waiting)) == 2


@pytest.mark.gen_test
async def test_an_error_gives_its_place_back(hasher: PasswordHasher) -> None:
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            await hasher._run(lambda: 1 // 0)
    assert await hasher.hash(b"secret")


@pytest.mark.gen_test
async def test_closed_is_503(hasher: PasswordHasher) -> None:
    hasher.close()
    for _ in range(5):
        with pytest.raises(ServiceUnavailable, match="stopping"):
            await hasher.verify([b"secret"], [])


@pytest.mark.gen_test
async def test_work_is_done_in_a_thread_of_lower_priority(hasher: PasswordHasher) -> None:
    def inspect() -> tuple[int, int]:
        return threading.get_ident(), os.getpriority(os.PRIO_PROCESS, 0)

    loop_thread, loop_priority = inspect()
    thread, priority = await hasher._run(inspect)
    assert thread != loop_thread
    assert priority == (min(19, loop_priority + 10) if sys.platform == "linux" else loop_priority)


_salts = st.from_regex(r"[./A-Za-z0-9]{21}[.Oeu]", fullmatch=True)
_digests = st.from_regex(r"[./A-Za-z0-9]{31}", fullmatch=True)


@given(salt=_salts, cost=st.integers(4, 31), digest=_digests)
def test_every_hash_is_parsed_in_either_format(salt: str, cost: int, digest: str) -> None:
    ours = parse_hash(f"$bcrypt-sha256$v=2,t=2b,r={cost}${salt}${digest}")
    assert ours == StoredHash(salt, cost, digest, raw=False)
    assert parse_hash(f"$2b${cost:02}${salt}{digest}") == StoredHash(salt, cost, digest, raw=True)


@given(st.text() | st.text("$2b.=,rtv0145aO/", max_size=80).map(lambda text: f"$2b$04${text}"))
def test_any_text_is_a_hash_or_an_error_that_does_not_repeat_it(text: str) -> None:
    try:
        parsed = parse_hash(text)
    except ValueError as error:
        said = str(error)
    else:
        said = ""
        assert 4 <= parsed.cost <= 31
        assert (parsed.salt in text, parsed.digest in text) == (True, True)
    assert len(text) < 16 or text not in said

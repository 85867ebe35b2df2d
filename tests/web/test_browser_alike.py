"""What is seen on pictures and what is alike, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web.conftest import BOX, Open, axe, keep, opened_viewer, until

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = pytest.mark.compiled


def test_what_is_seen_on_a_picture_is_chosen_and_looked_for(visit: Open) -> None:
    page = visit("/i/prints")
    page.locator("details", has_text="Seen on them").get_by_role("button", name="person").click()
    page.get_by_text("2 images", exact=True).wait_for()
    page.get_by_role("link", name="first/astronaut.jpg").click()
    opened_viewer(page)
    page.locator("svg.drawing .region.thing").wait_for(state="attached")
    keep(page, "11-things")
    page.get_by_role("button", name="Find this: person").click()
    page.wait_for_url("**/search?*region=*")
    page.locator(".finds > li").nth(1).wait_for()


def test_what_is_alike_is_refined_by_thumbs(visit: Open) -> None:
    page = visit(f"/i/prints/image/1?region={BOX}")
    opened_viewer(page)
    page.get_by_role("button", name="Find what is alike").click()
    page.wait_for_url(f"**/similar?image=1&region={BOX}")
    alike = page.locator(".finds > li")
    alike.nth(3).wait_for()
    keep(page, "12-alike")
    chosen = alike.nth(0).locator("h2").inner_text()
    alike.nth(0).get_by_role("button", name="like this", exact=True).click()
    page.wait_for_url("**right=*")
    alike.nth(2).get_by_role("button", name="not like this").click()
    page.wait_for_url("**wrong=*")
    page.get_by_role("region", name="not like this").locator("img").wait_for()
    keep(page, "12-alike-refined")
    assert axe(page) == []
    page.get_by_role("button", name=f"{chosen}: no longer an example").click()
    until(page, "!location.search.includes('right=')")
    page.keyboard.press("n")
    page.keyboard.press("y")
    page.wait_for_url("**right=*")
    assert page.get_by_label("In words").count() == 0  # This model does not read.


def test_words_are_asked_of_a_model_that_reads(visit: Open) -> None:
    page = visit("about:blank")

    def reads(route: Route) -> None:
        told = route.fetch().json()
        told["indexes"][0]["readers"] = ["clip"]
        route.fulfill(json=told)

    page.route("**/api/indexes", reads)
    picture = "/api/indexes/prints/similar?image=1"  # There is no such model here: what a picture finds is shown.
    page.route("**/similar?text=a+ship**", lambda route: route.fulfill(response=page.request.get(picture)))
    page.goto("/i/prints/similar")
    page.get_by_label("In words").fill("a ship")
    page.keyboard.press("Enter")
    page.wait_for_url("**/i/prints/similar?text=a+ship&language=en")
    page.locator(".finds > li").nth(1).wait_for()
    assert axe(page) == []

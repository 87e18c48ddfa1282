from impact.flows.imports.retail_reader import country_tenant
from impact.flows.imports.text import slug, tidy


def test_slug() -> None:
    assert slug(" Côte d'Ivoire! ") == "cote-d-ivoire"


def test_tidy() -> None:
    assert tidy("  a \n b ") == "a b"


def test_a_country_names_a_tenant_or_none() -> None:
    assert country_tenant("United Kingdom") == "united-kingdom"
    assert country_tenant("") is None
    assert country_tenant("7 Isles") is None
    assert country_tenant("x" * 64) is None
    assert country_tenant("HQ") is None

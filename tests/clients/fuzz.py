"""Whatever schemathesis makes of the schema is answered: with data, or with a refusal that the specification of this API names, and
never with a fault of the server's. What is right by the schema is not called wrong. Which operations were answered with data is written down."""

import schemathesis
from schemathesis import GenerationMode

REFUSALS = {"BAD_USER_INPUT", "FORBIDDEN", "NOT_FOUND", "CONFLICT", "PURPOSE_REQUIRED", "RATE_LIMITED", "QUERY_TOO_COMPLEX", "SEARCH_BUDGET_EXCEEDED"}
WRONG = {"GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED"}


@schemathesis.check
def answered(ctx, response, case):
    said = f"{response.status_code}: {response.text[:300]}"
    assert response.status_code in {200, 294, 400, 422, 429}, said
    answer = response.json()
    errors = answer.get("errors", [])
    assert "data" in answer or errors, said
    # Which documents are right it does not know where an input is @oneOf.
    right = case.meta.generation.mode is GenerationMode.POSITIVE and "exactly one field" not in response.text
    if any(value is not None for value in (answer.get("data") or {}).values()):
        with open("answered", "a", encoding="utf-8") as answered:
            answered.write(f"{case.operation.label}\n")
    assert {error["extensions"]["code"] for error in errors} <= REFUSALS | (set() if right else WRONG), said

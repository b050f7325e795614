"""OpenAI's image API: models, generations, edits."""

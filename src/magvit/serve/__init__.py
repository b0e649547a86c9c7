"""A page in the browser to play with a model: `page` and `server` show, and alone need gradio; the others make."""

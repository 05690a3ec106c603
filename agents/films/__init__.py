"""Episodes of tasks on film, and the page that plays them; who films is with the domain (`agents.robots.film`, `agents.arcade.film`)."""

from agents.films.film import Film
from agents.films.page import film_page, strides

__all__ = ["Film", "film_page", "strides"]

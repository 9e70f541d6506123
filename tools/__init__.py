"""Tools for developers; a running chat uses none of them."""

"""Small defects put into the delivery code on purpose: the simulation has to notice each of them."""

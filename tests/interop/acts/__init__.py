"""How each fault of the matrix is made with a real client, and how its fix is applied."""

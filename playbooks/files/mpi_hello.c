/* Each process sends its host's name to the first one, which prints them in order: so the network
 * between all nodes is used, not only the start of the processes. */
#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int rank, size, length;
    char name[MPI_MAX_PROCESSOR_NAME] = "";

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Get_processor_name(name, &length);
    if (rank != 0) {
        MPI_Send(name, sizeof name, MPI_CHAR, 0, 0, MPI_COMM_WORLD);
    } else {
        printf("rank 0 of %d on %s\n", size, name);
        for (int other = 1; other < size; other++) {
            MPI_Recv(name, sizeof name, MPI_CHAR, other, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            printf("rank %d of %d on %s\n", other, size, name);
        }
    }
    MPI_Finalize();
    return 0;
}
